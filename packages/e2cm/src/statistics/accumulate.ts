import {
  type Device,
  InputError,
  type Model,
  openDevice,
  parseOptions,
  type Session,
  type Tensor,
  tensor,
  until,
} from "@exitkit/core-gpu";
import { z } from "zod";
import type { Metric } from "../exits/closed-form.ts";
import { type Batches, type CheckedBatch, checkedBatches } from "../network/batches.ts";
import { checkTaps } from "../network/check-taps.ts";
import { defaultTaps } from "../network/default-taps.ts";
import { type FeatureKind, type FeatureMap, featureMap } from "../network/features.ts";
import { inspectNetwork, type Network, readTap, sampleShape } from "../network/network.ts";
import { callbackOption, deviceOption, signalOption } from "../options.ts";
import { pause } from "../pause.ts";
import type { ClassStatistics } from "./statistics.ts";
import { type SummingOutputs, summingModel } from "./summing-model.ts";

/** What a pass sums up. */
interface PassSettings {
  readonly classes: number;
  /** Default: as many as classes. */
  readonly outputs?: number | undefined;
  readonly taps: readonly string[];
  readonly features: FeatureKind;
  /** Keep the Gram matrices too: d² numbers an exit. */
  readonly gram: boolean;
  /** Takes samples away from the pass: gives the stream without them. */
  readonly setAside?: ((batches: AsyncIterable<CheckedBatch>) => AsyncIterable<CheckedBatch>) | undefined;
  readonly onProgress?: ((samples: number) => void) | undefined;
}

/** Options of {@link accumulateStatistics}. */
export interface AccumulateOptions {
  /** k: number of classes; the network's output is [n, k]. */
  readonly classes: number;
  /**
   * Scores that the network gives where they are not those of the k classes: classes were added to it, or it was trained on
   * others. The last exit must then answer by nearest mean. Default `classes`.
   */
  readonly outputs?: number;
  /** Name of the model's output that is meant. Default: the only one [n, k]. */
  readonly output?: string;
  /** What that output holds, where neither its graph nor its values show it. Default: what they show. */
  readonly scores?: "logits" | "probabilities";
  /** What the statistics are for: shared covariance needs Gram matrices too. Default `sharedCovariance`. */
  readonly metric?: Metric;
  /** What exits read. Default `moments` for shared covariance, `full` for Euclidean. */
  readonly features?: FeatureKind;
  /** Tensors the exits read, in order; name the network's output too if the last exit is to answer by nearest mean. Default: see `fit`. */
  readonly taps?: readonly string[];
  /** Where to run. Default: the best device there is, opened and closed by the call. */
  readonly device?: Device;
  /** Ends the call between two batches: it rejects with the signal's reason, streams are closed, the device can be used on. */
  readonly signal?: AbortSignal;
  /** Called after every batch with the number of samples so far. */
  readonly onProgress?: (samples: number) => void;
}

const schema = z.strictObject({
  classes: z.int().min(2),
  outputs: z.int().min(2).optional(),
  output: z.string().min(1).optional(),
  scores: z.enum(["logits", "probabilities"]).optional(),
  metric: z.enum(["sharedCovariance", "euclidean"]).default("sharedCovariance"),
  features: z.enum(["moments", "pooled", "full"]).optional(),
  taps: z.array(z.string()).min(1).readonly().optional(),
  device: deviceOption,
  signal: signalOption,
  onProgress: callbackOption<(samples: number) => void>(),
});

/**
 * One shard's part of a fit: counts, sums and Gram matrices of the features at every exit, for `mergeStatistics` and
 * `fitFromStatistics`. Memory does not grow with the number of pictures: k·d numbers an exit, and d² for shared covariance.
 *
 * @throws InputError on a model that is not a single-input classifier, an exit that is no place to cut it, more than 8,192
 * features with shared covariance, a bad batch, no batch at all, or unknown options.
 */
export async function accumulateStatistics(
  model: Model,
  batches: Batches,
  options: AccumulateOptions,
): Promise<ClassStatistics> {
  const caller = "e2cm.accumulateStatistics";
  const { classes, metric, taps, onProgress, outputs = classes, ...checked } = parseOptions(caller, schema, options);
  const device = checked.device ?? (await openDevice("auto"));
  try {
    const network = await inspectNetwork(caller, device, model, outputs, checked);
    return await accumulate(caller, device, network, until(checked.signal, batches), {
      classes,
      outputs,
      taps: taps?.map((tap) => readTap(network, tap)) ?? defaultTaps(caller, network, metric),
      features: checked.features ?? (metric === "euclidean" ? "full" : "moments"),
      gram: metric === "sharedCovariance",
      onProgress,
    });
  } finally {
    if (checked.device === undefined) await device.close();
  }
}

/**
 * One streaming pass over labelled batches: class counts, class sums, squared norms and, where asked for, Gram matrices
 * of the features at every tap. Memory does not grow with the number of samples.
 *
 * Sums over one batch are matrix products inside the network's own graph (float32, as the features are) of the features
 * less their mean m over that batch; m is added back and batches are added up in float64. So a feature that hardly varies
 * beside its mean does not drown in float32's rounding.
 *
 * @throws InputError on a bad batch, features that are not finite, or no batch at all.
 */
export async function accumulate(
  caller: string,
  device: Device,
  network: Network,
  batches: Batches,
  options: PassSettings,
): Promise<ClassStatistics> {
  const { classes, outputs = classes, taps, onProgress } = options;
  checkTaps(caller, network, taps);
  const maps = taps.map((tap) => featureMap(options.features, sampleShape(caller, network, tap), { caller, tap }));
  if (options.gram) checkGramSizes(caller, taps, maps);
  const summing = summingModel(network, taps, maps, classes, options.gram);
  const session = await device.load(summing.model);
  const input = session.inputs.find(({ name }) => name === network.input)!;
  const counts = new Float64Array(classes);
  const sums = taps.map((tap, index) => ({
    tap,
    d: maps[index]!.d,
    sums: new Float64Array(classes * maps[index]!.d),
    squares: 0,
    gram: options.gram ? new Float64Array(maps[index]!.d ** 2) : null,
  }));
  const buffers = summing.outputs.map(({ sums: sumsName, gram }, index) => {
    const { d } = maps[index]!;
    return {
      [sumsName]: tensor("float32", [classes, d]),
      ...(gram === null ? {} : { [gram]: tensor("float32", [d, d]) }),
    };
  });
  const into: Record<string, Tensor> = Object.assign({}, ...buffers);
  let samples = 0;
  try {
    const checked = checkedBatches(caller, batches, input, classes);
    for await (const batch of options.setAside?.(checked) ?? checked) {
      const n = batch.y.length;
      const oneHot = new Float32Array(classes * n);
      const batchCounts = new Float64Array(classes);
      for (let i = 0; i < n; i++) {
        oneHot[batch.y[i]! * n + i] = 1;
        batchCounts[batch.y[i]!]!++;
        counts[batch.y[i]!]!++;
      }
      const feeds = { [network.input]: batch.x, [summing.oneHot]: tensor("float32", [classes, n], oneHot) };
      await addBatch(caller, session, feeds, into, summing.outputs, sums, batchCounts, samples);
      samples += n;
      onProgress?.(samples);
    }
  } finally {
    await session.release();
  }
  if (samples === 0)
    throw new InputError(caller, "at least one batch of training samples", "none", "Is the stream used up?");
  for (const exit of sums) {
    if (exit.gram === null) continue;
    await pause();
    mirrorUpperTriangle(exit.gram, exit.d);
  }
  return {
    modelHash: network.hash,
    scoresFrom: network.scoresFrom,
    classes,
    outputs,
    features: options.features,
    counts,
    exits: sums,
  };
}

/** A Gram matrix of more features would take gigabytes. */
const LARGEST_GRAM = 8192;

function checkGramSizes(caller: string, taps: readonly string[], maps: readonly FeatureMap[]): void {
  const large = maps.findIndex(({ d }) => d > LARGEST_GRAM);
  if (large < 0) return;
  throw new InputError(
    caller,
    `shared covariance takes at most ${LARGEST_GRAM} features an exit, for its covariance has d² numbers`,
    `${maps[large]!.d} at "${taps[large]}"`,
    'Use features: "moments" or "pooled".',
  );
}

/** Sums over samples that grow from batch to batch. */
interface RunningSums {
  readonly tap: string;
  readonly d: number;
  readonly sums: Float64Array;
  squares: number;
  readonly gram: Float64Array | null;
}

async function addBatch(
  caller: string,
  session: Session,
  feeds: Readonly<Record<string, Tensor>>,
  into: Readonly<Record<string, Tensor>>,
  outputs: readonly SummingOutputs[],
  running: readonly RunningSums[],
  batchCounts: Float64Array,
  samples: number,
): Promise<void> {
  const results = await session.run(feeds, { into });
  const take = (name: string) => results[name]!.data as Float32Array;
  for (const [at, names] of outputs.entries()) {
    const exit = running[at]!;
    await pause();
    for (const square of take(names.squares)) exit.squares += square;
    const mean = Float64Array.from(take(names.mean));
    const n = batchCounts.reduce((sum, count) => sum + count, 0);
    // Σ (x − m) over the batch: not quite zero, for m is rounded to float32.
    const rest = addSums(exit, take(names.sums), mean, batchCounts);
    for (let i = 0; i < exit.d; i++) exit.squares += mean[i]! * (2 * rest[i]! + n * mean[i]!);
    if (exit.gram !== null && names.gram !== null) addUpperTriangle(exit.gram, take(names.gram), mean, rest, n);
    if (!Number.isFinite(exit.squares)) {
      throw new InputError(
        caller,
        "features must be finite",
        `NaN or infinity at "${exit.tap}" in the batch after the first ${samples} samples`,
        "Check the samples of that batch and their normalisation, and the network's weights.",
      );
    }
  }
}

/** Adds Σ_{i∈S_k} x_i of a batch, given Σ (x_i − m) and how many there are. Gives Σ (x − m) over all classes, [d]. */
function addSums(
  { sums, d }: RunningSums,
  centred: Float32Array,
  mean: Float64Array,
  counts: Float64Array,
): Float64Array {
  const rest = new Float64Array(d);
  counts.forEach((count, label) => {
    for (let i = 0; i < d; i++) {
      rest[i]! += centred[label * d + i]!;
      sums[label * d + i]! += centred[label * d + i]! + count * mean[i]!;
    }
  });
  return rest;
}

/** Adds Σ x xᵀ = Σ (x − m)(x − m)ᵀ + r mᵀ + m rᵀ + n m mᵀ of a batch, r = Σ (x − m). */
function addUpperTriangle(
  total: Float64Array,
  centred: Float32Array,
  mean: Float64Array,
  rest: Float64Array,
  n: number,
): void {
  const d = mean.length;
  for (let i = 0; i < d; i++) {
    const row = i * d;
    const own = mean[i]!;
    const other = rest[i]! + n * own;
    for (let j = i; j < d; j++) total[row + j]! += centred[row + j]! + other * mean[j]! + own * rest[j]!;
  }
}

/** By squares that the caches hold. */
function mirrorUpperTriangle(matrix: Float64Array, d: number): void {
  const side = 64;
  for (let top = 0; top < d; top += side) {
    for (let left = 0; left <= top; left += side) {
      const [bottom, right] = [Math.min(d, top + side), Math.min(d, left + side)];
      for (let i = top; i < bottom; i++) {
        for (let j = left; j < Math.min(right, i); j++) matrix[i * d + j] = matrix[j * d + i]!;
      }
    }
  }
}
