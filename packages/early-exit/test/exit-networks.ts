// A small residual network with batch norm, its exits, and pictures that it can learn, for the tests of trained exits.
import {
  type Device,
  generator,
  layers,
  ops,
  optimisers,
  type Program,
  spec,
  type Tensor,
  tensor,
  training,
  type Value,
} from "@exitkit/core-gpu";
import {
  type Backbone,
  type ExitNetwork,
  exitNetwork,
  heads,
  programBackbone,
  type TrainExitsOptions,
} from "../src/index.ts";

const CLASSES = 4;

function convNorm(random: ReturnType<typeof generator>, from: number, to: number) {
  return {
    conv: layers.initConv(random, { in: from, out: to, kernel: 3, bias: false }),
    norm: layers.initBatchNorm(to),
  };
}

/** First parameters of {@link tinyBackbone}. */
export function tinyParameters(channels = 16, seed = 1) {
  const random = generator(seed);
  return {
    stem: convNorm(random, 3, channels),
    block: convNorm(random, channels, channels),
    down: convNorm(random, channels, channels),
    last: layers.initLinear(random, { in: channels, out: CLASSES }),
  };
}

/** 3×8×8 pictures: stem, a residual block, a strided convolution, a linear layer; taps `stem`, `block` and `down`. */
export function tinyBackbone(params = tinyParameters()): Backbone {
  return programBackbone({
    params,
    input: spec("float32", ["n", 3, 8, 8]),
    apply: (params, x, training) => {
      const layer = (given: typeof params.stem, value: Value, stride = 1) =>
        layers.batchNorm(given.norm, ops.conv(value, given.conv.weight, { padding: 1, stride }), { training });
      const first = layer(params.stem, x);
      const stem = ops.relu(first.y);
      const second = layer(params.block, stem);
      const block = ops.relu(ops.add(second.y, stem));
      const third = layer(params.down, block, 2);
      const down = ops.relu(third.y);
      return {
        taps: { stem, block, down },
        logits: layers.linear(params.last, ops.flatten(ops.globalAveragePool(down))),
        updated: {
          stem: { norm: first.updated },
          block: { norm: second.updated },
          down: { norm: third.updated },
        },
      };
    },
  });
}

/** Three early exits, one of each head. */
export function tinyNetwork(backbone = tinyBackbone()): ExitNetwork {
  return exitNetwork(backbone, [
    { name: "exit1", tap: "stem", head: heads.linear() },
    { name: "exit2", tap: "block", head: heads.mixedPool() },
    { name: "exit3", tap: "down", head: heads.conv({ channels: 5 }) },
  ]);
}

/** Noisy pictures of {@link CLASSES} patterns. */
export function pictures(n: number, seed = 3): { readonly x: Tensor<"float32">; readonly y: Int32Array } {
  const patterns = generator(99);
  const base = Array.from({ length: CLASSES }, () => {
    const colour = [patterns.normal(), patterns.normal(), patterns.normal()];
    return Float32Array.from({ length: 192 }, (_, at) => colour[Math.floor(at / 64)]! + patterns.normal());
  });
  const random = generator(seed);
  const y = Int32Array.from({ length: n }, (_, row) => row % CLASSES);
  const x = tensor("float32", [n, 3, 8, 8]);
  y.forEach((label, row) => {
    const contrast = 0.3 + random.uniform();
    for (let at = 0; at < 192; at++) x.data[row * 192 + at] = contrast * base[label]![at]! + random.normal();
  });
  return { x, y };
}

/** {@link pictures} to train on. */
export function dataset(n: number, seed = 3): training.Dataset {
  const { x, y } = pictures(n, seed);
  return training.tensorDataset({ x, y: tensor("int64", [n], BigInt64Array.from(y, BigInt)) });
}

export function trainingOptions(changed: Partial<TrainExitsOptions> = {}): TrainExitsOptions {
  return {
    trains: "exits",
    batchSize: 16,
    epochs: 2,
    generator: generator(5),
    optimiser: optimisers.adam(),
    learningRate: 0.01,
    ...changed,
  };
}

/** Outputs of a program for given inputs. */
export async function evaluate(
  device: Device,
  program: Program<unknown, unknown>,
  feeds: Readonly<Record<string, Tensor>>,
): Promise<Record<string, Tensor>> {
  const runner = await device.compile(program);
  try {
    return await runner.run(feeds);
  } finally {
    await runner.release();
  }
}
