// An annulus cut into five angular classes, and a small network with batch norm that can learn it.
import { generator, layers, ops, spec, type Tensor, tensor, training } from "@exitkit/core-gpu";
import { type Backbone, programBackbone } from "@exitkit/early-exit";

const CLASSES = 5;
const WIDTH = 16;

export interface Ring {
  readonly x: Tensor<"float32">;
  readonly y: Tensor<"int64">;
  /** How far a point is from the middle of its sector, 0 to 1. */
  readonly aside: Float64Array;
  readonly labels: Int32Array;
  readonly data: training.Dataset;
}

/** n points of radius 0.5 to 1. */
export function ring(n: number, seed = 1): Ring {
  const random = generator(seed);
  const [x, y] = [tensor("float32", [n, 2]), tensor("int64", [n])];
  const [aside, labels] = [new Float64Array(n), new Int32Array(n)];
  for (let i = 0; i < n; i++) {
    const [turn, radius] = [random.uniform() * CLASSES, 0.5 + 0.5 * random.uniform()];
    const angle = (turn * 2 * Math.PI) / CLASSES;
    x.data.set([radius * Math.cos(angle), radius * Math.sin(angle)], 2 * i);
    labels[i] = Math.floor(turn);
    y.data[i] = BigInt(labels[i]!);
    aside[i] = 2 * Math.abs(turn - labels[i]! - 0.5);
  }
  return { x, y, aside, labels, data: training.tensorDataset({ x, y }) };
}

/** 2 → 16 → 16 → 5, batch norm after the first layer; taps `first` and `second`. */
export function ringBackbone(seed = 1): Backbone {
  const random = generator(seed);
  return programBackbone({
    params: {
      first: layers.initLinear(random, { in: 2, out: WIDTH }),
      norm: layers.initBatchNorm(WIDTH),
      second: layers.initLinear(random, { in: WIDTH, out: WIDTH }),
      last: layers.initLinear(random, { in: WIDTH, out: CLASSES }),
    },
    input: spec("float32", ["n", 2]),
    apply: (params, x, isTraining) => {
      const norm = layers.batchNorm(params.norm, layers.linear(params.first, x), { training: isTraining });
      const first = ops.relu(norm.y);
      const second = ops.relu(layers.linear(params.second, first));
      return {
        taps: { first, second },
        logits: layers.linear(params.last, second),
        updated: { norm: norm.updated },
      };
    },
  });
}

/** Multiply-accumulates of a point through {@link ringBackbone} with a linear exit at `first`. */
export const RING_MACS = 2 * WIDTH + WIDTH * WIDTH + WIDTH * CLASSES + WIDTH * CLASSES;
