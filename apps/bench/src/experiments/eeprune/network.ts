import { type Generator, layers, ops, spec, type Value } from "@exitkit/core-gpu";
import { type Backbone, programBackbone } from "@exitkit/early-exit";
import type { Augmentation } from "../../data/augment.ts";
import type { Dataset } from "../../data/directory.ts";
import type { Normalisation } from "../../data/normalisation.ts";
import type { PictureShape, Pictures } from "../../data/pictures.ts";
import { EPSILON, shortcut } from "../../zoo/resnet.ts";

/** Channels of the three blocks. */
const WIDTHS = [16, 32, 64] as const;

/** Where an early exit may read: behind which block. */
export const PLACES = { before: "block1", mid: "block2", after: "block3" } as const;

/** "before", "mid" or "after". */
export type Place = keyof typeof PLACES;

/** What a training works on. */
export interface Material {
  readonly train: Pictures;
  readonly test: Pictures;
  readonly normalisation: Normalisation;
  readonly augmentation: Augmentation;
  /** The largest learning rate of a cycle. */
  readonly peakLearningRate: number;
}

/** The pictures of a data set as the network of their shape takes them: linear layers see them as they are, convolutions varied. */
export function materialOf({ normalisation, augmentation }: Dataset, train: Pictures, test: Pictures): Material {
  const grey = train.shape[0] === 1;
  return {
    train,
    test,
    normalisation,
    augmentation: grey ? { padding: 0, mirror: false } : augmentation,
    peakLearningRate: grey ? 0.1 : 0.2,
  };
}

/** Outputs of the hidden layers of {@link mlp}. */
const HIDDEN = [256, 128, 64] as const;

/** The network of this experiment for pictures of that shape, from other first weights for every seed. */
export function networkFor(random: Generator, shape: PictureShape, classes: number): Backbone {
  return shape[0] === 1 ? mlp(random, shape, classes) : compactResnet(random, shape, classes);
}

/** What {@link networkFor} is called. */
export function networkName([channels]: PictureShape): string {
  return channels === 1 ? "four linear layers (256, 128, 64, k)" : "ResNet-8, first convolution with stride 2";
}

/** For grey pictures: four linear layers with ReLU between. Taps `block1` to `block3`; `features` is the last of them. */
function mlp(random: Generator, shape: PictureShape, classes: number): Backbone {
  const inputs = shape.reduce((product, size) => product * size, 1);
  const layer = (from: number, to: number) => layers.initLinear(random, { in: from, out: to });
  return programBackbone({
    params: {
      block1: layer(inputs, HIDDEN[0]),
      block2: layer(HIDDEN[0], HIDDEN[1]),
      block3: layer(HIDDEN[1], HIDDEN[2]),
      linear: layer(HIDDEN[2], classes),
    },
    input: spec("float32", ["n", ...shape]),
    apply: (params, x) => {
      const block1 = ops.relu(layers.linear(params.block1, ops.flatten(x)));
      const block2 = ops.relu(layers.linear(params.block2, block1));
      const block3 = ops.relu(layers.linear(params.block3, block2));
      return {
        taps: { block1, block2, block3, features: ops.identity(block3) },
        logits: layers.linear(params.linear, block3),
      };
    },
  });
}

/**
 * For coloured pictures: a ResNet-8 whose first convolution has stride 2, so that it computes a quarter of the usual; three residual
 * blocks of 16, 32 and 64 channels, global average pooling and a linear layer. Taps `block1` to `block3`, and `features`, what the
 * linear layer reads.
 */
function compactResnet(random: Generator, shape: PictureShape, classes: number): Backbone {
  const block = (from: number, to: number) => ({
    conv1: initConv(random, from, to),
    bn1: layers.initBatchNorm(to),
    conv2: initConv(random, to, to),
    bn2: layers.initBatchNorm(to),
  });
  return programBackbone({
    params: {
      conv: initConv(random, shape[0], WIDTHS[0]),
      bn: layers.initBatchNorm(WIDTHS[0]),
      block1: block(WIDTHS[0], WIDTHS[0]),
      block2: block(WIDTHS[0], WIDTHS[1]),
      block3: block(WIDTHS[1], WIDTHS[2]),
      linear: layers.initLinear(random, { in: WIDTHS[2], out: classes }),
    },
    input: spec("float32", ["n", ...shape]),
    apply: (params, x, training) => {
      const norm = (given: layers.BatchNormParameters<Value>, value: Value) =>
        layers.batchNorm(given, value, { training, epsilon: EPSILON });
      const through = (given: typeof params.block1, value: Value, stride: number) => {
        const first = norm(given.bn1, ops.conv(value, given.conv1.weight, { padding: 1, stride }));
        const second = norm(given.bn2, ops.conv(ops.relu(first.y), given.conv2.weight, { padding: 1 }));
        const y = ops.relu(ops.add(second.y, stride === 2 ? shortcut(value) : value));
        return { y, updated: { bn1: first.updated, bn2: second.updated } };
      };
      const stem = norm(params.bn, ops.conv(x, params.conv.weight, { padding: 1, stride: 2 }));
      const one = through(params.block1, ops.relu(stem.y), 1);
      const two = through(params.block2, one.y, 2);
      const three = through(params.block3, two.y, 2);
      const features = ops.flatten(ops.globalAveragePool(three.y));
      return {
        taps: { block1: one.y, block2: two.y, block3: three.y, features },
        logits: layers.linear(params.linear, features),
        updated: { bn: stem.updated, block1: one.updated, block2: two.updated, block3: three.updated },
      };
    },
  });
}

function initConv(random: Generator, from: number, to: number) {
  return layers.initConv(random, {
    in: from,
    out: to,
    kernel: 3,
    bias: false,
    initialWeight: layers.kaimingNormal(),
  });
}
