import {
  type Device,
  type Generator,
  generator,
  type layers,
  ops,
  optimisers,
  type Program,
  type Spec,
  schedules,
  spec,
  type Tensor,
  type TreeRecord,
  tensor,
  trace,
  training,
  type Value,
} from "@exitkit/core-gpu";
import {
  type FrameNormalisation,
  type FramePair,
  type LabelScheme,
  readColours,
  readLabels,
} from "../data/segmentation.ts";
import { meanOf } from "../measuring/answers.ts";
import {
  COMPACT_HR,
  type CompactHrParameters,
  describeCompactHr,
  initCompactHr,
  trainingUnits,
} from "../zoo/compact-hr.ts";
import { STATE, stepOf, trainingState, weightsOf } from "./programs.ts";

/** How the compact network is trained. */
export interface SegmenterRecipe {
  readonly epochs: number;
  /** Crops a step; what is left over at the end of an epoch is left out. */
  readonly batch: number;
  /** [h, w], divisible by 32. */
  readonly crop: readonly [number, number];
  /** Frames are resized by a factor drawn from this range (its logarithm uniformly) before they are cropped. */
  readonly scale: readonly [number, number];
  /** Colours are multiplied by a factor up to this, or its inverse. */
  readonly light: number;
  /** At the start; falls as (1 − t)^0.9. */
  readonly learningRate: number;
  /** Of AdamW, on filters. */
  readonly weightDecay: number;
  /** Share of the steps in which sure pixels are masked, at a threshold drawn from `thresholds`. */
  readonly masked: number;
  readonly thresholds: readonly [number, number];
}

/** The recipe of the weights in the repository, but for their epochs: assets/weights/SOURCE.md. */
export const SEGMENTER_RECIPE: SegmenterRecipe = {
  epochs: 45,
  batch: 4,
  crop: [256, 352],
  scale: [0.7, 1.6],
  light: 1.5,
  learningRate: 2e-3,
  weightDecay: 2e-2,
  masked: 0.5,
  thresholds: [0.6, 0.99],
};

/** A frame and its labels as they are augmented. */
interface TrainingFrame {
  /** uint8 [h, w, 3], RGB. */
  readonly colours: Tensor<"uint8">;
  /** uint8 [h, w]. */
  readonly labels: Tensor<"uint8">;
}

/** Reads frames with their labels into memory. */
export async function readTrainingFrames(pairs: readonly FramePair[], scheme: LabelScheme): Promise<TrainingFrame[]> {
  const frames: TrainingFrame[] = [];
  for (const { image, labels } of pairs) {
    frames.push({ colours: await readColours(image), labels: await readLabels(labels, scheme) });
  }
  return frames;
}

/** Weights of the classes, 1 ÷ ln(1.02 + share of the pixels), mean 1 over the classes. */
export function classBalance(frames: readonly TrainingFrame[], classes: number): Tensor<"float32"> {
  const counts = new Float64Array(classes);
  for (const { labels } of frames) for (const label of labels.data) if (label < classes) counts[label]!++;
  const all = counts.reduce((sum, count) => sum + count, 0);
  const weights = Array.from(counts, (count) => 1 / Math.log(1.02 + count / all));
  const mean = meanOf(weights);
  return tensor(
    "float32",
    [classes],
    weights.map((weight) => weight / mean),
  );
}

/** Random crops of frames that were mirrored, resized and lit at random; labels at ¼, of the middle of each place. */
export function croppedFrames(
  frames: readonly TrainingFrame[],
  { crop, scale, light }: SegmenterRecipe,
  { mean, deviation }: FrameNormalisation,
  ignore: number,
): training.Dataset {
  const [height, width] = crop;
  const size = height * width;
  const [down, across] = [height / 4, width / 4];
  return {
    size: frames.length,
    batch(indices, random) {
      const x = tensor("float32", [indices.length, 3, height, width]);
      const y = tensor("int64", [indices.length, down, across]);
      indices.forEach((index, place) => {
        const { colours, labels } = frames[index]!;
        const [h, w] = labels.shape as [number, number];
        const factor = Math.exp(random.uniform() * Math.log(scale[1] / scale[0])) * scale[0];
        // Where the crop begins, in the frame's own pixels; outside nothing is labelled.
        const [tall, wide] = [height / factor, width / factor];
        const top = random.uniform() * (h - tall);
        const left = random.uniform() * (w - wide);
        const mirrored = random.integer(2) === 1;
        const gains = lights(random, light);
        const bias = Float32Array.from(mean, (value, c) => -value / deviation[c]!);
        for (let row = 0; row < height; row++) {
          const at = top + (row + 0.5) / factor - 0.5;
          const upper = Math.floor(at);
          const share = at - upper;
          const inside = upper >= 0 && upper + 1 < h;
          if (!inside && (at < -0.5 || at > h - 0.5)) continue;
          const first = Math.max(upper, 0) * w;
          const second = Math.min(upper + 1, h - 1) * w;
          for (let column = 0; column < width; column++) {
            const from = left + ((mirrored ? width - 1 - column : column) + 0.5) / factor - 0.5;
            if (from < -0.5 || from > w - 0.5) continue;
            const near = Math.floor(from);
            const part = from - near;
            const one = Math.max(near, 0);
            const other = Math.min(near + 1, w - 1);
            const [a, b, c, d] = [3 * (first + one), 3 * (first + other), 3 * (second + one), 3 * (second + other)];
            for (let channel = 0; channel < 3; channel++) {
              const upperValue = colours.data[a + channel]! * (1 - part) + colours.data[b + channel]! * part;
              const lowerValue = colours.data[c + channel]! * (1 - part) + colours.data[d + channel]! * part;
              const value = (upperValue * (1 - share) + lowerValue * share) * gains[channel]!;
              x.data[(place * 3 + channel) * size + row * width + column] =
                Math.min(255, value) / deviation[channel]! + bias[channel]!;
            }
          }
        }
        for (let row = 0; row < down; row++) {
          const at = Math.round(top + (4 * row + 2) / factor - 0.5);
          for (let column = 0; column < across; column++) {
            const from = Math.round(left + (mirrored ? width - (4 * column + 2) : 4 * column + 2) / factor - 0.5);
            const known = at >= 0 && at < h && from >= 0 && from < w;
            y.data[(place * down + row) * across + column] = BigInt(known ? labels.data[at * w + from]! : ignore);
          }
        }
      });
      return { x, y };
    },
  };
}

/** A factor for all colours, and a little one for each. */
function lights(random: Generator, light: number): number[] {
  const drawn = (most: number) => Math.exp((2 * random.uniform() - 1) * Math.log(most));
  const all = drawn(light);
  return [0, 1, 2].map(() => all * drawn(1.08));
}

/**
 * One training step: the four exits' class-balanced cross-entropies, equally weighted, on logits resized to ¼; pixels that an exit
 * is surer of than `threshold` are masked in what follows and keep its logits, as in ADP-C's training. Inputs `params`,
 * `optimiser`, `x`, `y`, `threshold` [] and `learningRate` []; outputs the next state, `loss`, `losses.j` and `accuracies.j`.
 */
export function segmenterStep(
  { batch, crop: [h, w] }: SegmenterRecipe,
  optimiser: optimisers.Optimiser,
  balance: Tensor<"float32">,
  ignore: number,
  specs: { readonly params: TreeRecord<Spec>; readonly optimiser: TreeRecord<Spec> },
): Program<unknown, unknown> {
  const { exits } = COMPACT_HR;
  return trace(
    ({ x, y, threshold, ...given }) => {
      const updated: Record<string, { readonly norm: layers.RunningStatistics<Value> }> = {};
      const parts = describeCompactHr(trainingUnits(given.params as unknown as CompactHrParameters<Value>, updated));
      const fine = [h / 4, w / 4];
      let at = parts.first(x);
      let open: Value | null = null;
      let before: Value | null = null;
      const finer: Value[] = [];
      for (let index = 0; index < exits; index++) {
        const own = parts.exit(index, at.stream);
        const logits: Value = open === null ? own : ops.where(open, own, before!);
        finer.push(ops.resize(logits, fine));
        const sure = ops.max(ops.softmax(ops.stopGradient(logits), { axis: 1 }), { axes: [1], keepDimensions: true });
        const unsure = ops.lessOrEqual(sure, threshold);
        open = open === null ? unsure : ops.and(open, unsure);
        before = logits;
        const mask = open;
        at = parts.stage(index, at, (after, kept) => ops.where(mask, after, kept));
      }
      const going = ops.greater(ops.resize(ops.cast(open!, "float32"), fine, { mode: "nearest" }), 0.5);
      finer.push(ops.where(going, parts.unfolded(parts.last(at.stream)), finer.at(-1)!));
      const losses = finer.map((logits) =>
        ops.crossEntropy(ops.transpose(logits, [0, 2, 3, 1]), y, { ignoreIndex: ignore, classWeights: balance }),
      );
      const loss = losses.reduce((sum, one) => ops.add(sum, one));
      return { ...stepOf(loss, given, optimiser, { updated }), losses, going: ops.mean(ops.cast(going, "float32")) };
    },
    {
      ...specs,
      x: spec("float32", [batch, 3, h, w]),
      y: spec("int64", [batch, h / 4, w / 4]),
      threshold: spec("float32", []),
      learningRate: spec("float32", []),
    },
  );
}

/** What is trained on what, and where the run is kept. */
interface SegmenterTraining {
  readonly device: Device;
  readonly recipe: SegmenterRecipe;
  readonly frames: readonly TrainingFrame[];
  readonly normalisation: FrameNormalisation;
  readonly ignore: number;
  readonly seed: number;
  /** The folder of the checkpoints: a killed run goes on there with the same bits. */
  readonly folder: string;
  readonly onEpoch?: (epoch: number, losses: readonly number[]) => void;
}

/** Trains the compact network from scratch; gives its parameters by path, and [epochs][e] the losses of its exits. */
export async function trainSegmenter(options: SegmenterTraining): Promise<{
  readonly weights: Readonly<Record<string, Tensor>>;
  readonly losses: readonly (readonly number[])[];
}> {
  const { device, recipe, frames, normalisation, ignore, seed, folder, onEpoch } = options;
  const random = generator(seed);
  const params = initCompactHr(random.split()) as unknown as TreeRecord<Tensor>;
  const optimiser = optimisers.adamW({ weightDecay: recipe.weightDecay, mask: (_, { shape }) => shape.length > 1 });
  const { initial, specs } = trainingState(params, optimiser);
  const program = segmenterStep(recipe, optimiser, classBalance(frames, COMPACT_HR.classes), ignore, specs);
  const runner = await device.compile(program, { state: STATE, initial });
  const steps = Math.floor(frames.length / recipe.batch) * recipe.epochs;
  const [least, most] = recipe.thresholds;
  try {
    const lossesOf = ({ metrics }: { readonly metrics: Readonly<Record<string, number>> }) =>
      Array.from({ length: 4 }, (_, exit) => metrics[`losses.${exit}`]!);
    const { history } = await training.train({
      runner,
      data: croppedFrames(frames, recipe, normalisation, ignore),
      batchSize: recipe.batch,
      dropLast: true,
      epochs: recipe.epochs,
      generator: random,
      learningRate: schedules.warmUp(schedules.polynomial({ initial: recipe.learningRate, steps, power: 0.9 }), {
        steps: Math.ceil(steps / 50),
      }),
      feeds: ({ generator: own }) => {
        const masked = own.uniform() < recipe.masked;
        return { threshold: tensor("float32", [], [masked ? least + (most - least) * own.uniform() : 2]) };
      },
      checkpoint: { folder, everySteps: 50 },
      resume: true,
      onEpoch: (event) => onEpoch?.(event.epoch, lossesOf(event)),
    });
    return { weights: await weightsOf(runner), losses: history.map(lossesOf) };
  } finally {
    await runner.release();
  }
}
