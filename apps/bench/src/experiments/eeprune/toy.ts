import { type Device, generator, layers, ops, optimisers, spec, tensor, training } from "@exitkit/core-gpu";
import { programBackbone } from "@exitkit/early-exit";
import { briefRun, pruneByEarlyExit } from "@exitkit/eeprune";

const CLASSES = 5;
const POINTS = 1200;
const EPOCHS = 10;
const BATCH = 50;
/** Epochs that the paper's figure shows [S]. */
const SHOWN = [1, 8, 9, 10];
/** A confidence that the exit does not reach at first. */
const THRESHOLD = 0.9;
const HIDDEN = 32;

/** One frame of the toy: the points, and which of them the criterion would prune after that epoch. */
export interface ToyFrame {
  readonly epoch: number;
  readonly x: readonly number[];
  readonly y: readonly number[];
  readonly label: readonly number[];
  /** 1 where a point would go. */
  readonly pruned: readonly number[];
}

/** A flat ring cut into five classes by the angle, and what is pruned of it epoch by epoch. */
export async function ringToy(device: Device, seed: number): Promise<readonly ToyFrame[]> {
  const random = generator(seed);
  const [x, y] = [tensor("float32", [POINTS, 2]), tensor("int64", [POINTS])];
  for (let i = 0; i < POINTS; i++) {
    const [turn, radius] = [random.uniform(), Math.sqrt(0.25 + 0.75 * random.uniform())];
    x.data.set([radius * Math.cos(2 * Math.PI * turn), radius * Math.sin(2 * Math.PI * turn)], 2 * i);
    y.data[i] = BigInt(Math.floor(turn * CLASSES));
  }
  const backbone = programBackbone({
    params: {
      first: layers.initLinear(random, { in: 2, out: HIDDEN }),
      second: layers.initLinear(random, { in: HIDDEN, out: HIDDEN }),
      last: layers.initLinear(random, { in: HIDDEN, out: CLASSES }),
    },
    input: spec("float32", ["n", 2]),
    apply: (params, given) => {
      const first = ops.relu(layers.linear(params.first, given));
      const second = ops.relu(layers.linear(params.second, first));
      return { taps: { first, second }, logits: layers.linear(params.last, second) };
    },
  });
  const run = await briefRun(device, backbone, training.tensorDataset({ x, y }), {
    tap: "first",
    epochs: EPOCHS,
    batchSize: BATCH,
    generator: generator(seed),
    optimiser: optimisers.sgd({ momentum: 0.9 }),
    learningRate: 0.05,
  });
  const points = [0, 1].map((axis) => Array.from({ length: POINTS }, (_, i) => rounded(x.data[2 * i + axis]!)));
  return SHOWN.map((epoch) => {
    const { early, final } = run.epochs[epoch - 1]!;
    const { pruned } = pruneByEarlyExit(
      {
        labels: run.labels,
        earlyPrediction: early.prediction,
        finalPrediction: final.prediction,
        earlyConfidence: early.confidence,
      },
      { classes: CLASSES, threshold: THRESHOLD, vanishing: "warn", generator: generator(seed) },
    );
    const goes = new Set(pruned);
    return {
      epoch,
      x: points[0]!,
      y: points[1]!,
      label: [...run.labels],
      pruned: Array.from({ length: POINTS }, (_, i) => (goes.has(i) ? 1 : 0)),
    };
  });
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
