import { type Device, InputError, type Model, openDevice, parseOptions, until } from "@exitkit/core-gpu";
import { z } from "zod";
import type { DistanceRule } from "../decisions/distances.ts";
import { type RejectOptions, rejectOption } from "../decisions/rejection.ts";
import { checkCalibrationSize } from "../decisions/score-record.ts";
import type { Metric } from "../exits/closed-form.ts";
import type { FittedExits } from "../exits/fitted-exits.ts";
import { type Batches, isIterable } from "../network/batches.ts";
import { defaultTaps } from "../network/default-taps.ts";
import type { FeatureKind } from "../network/features.ts";
import { holdOut } from "../network/hold-out.ts";
import { inspectNetwork, readTap } from "../network/network.ts";
import { batchesOption, signalOption } from "../options.ts";
import { accumulate } from "../statistics/accumulate.ts";
import { deltaOption } from "./calibrate-exits.ts";
import { checkHead, decisionSchema, type FitProgress, solveAndCalibrate } from "./from-statistics.ts";

/** Options of {@link fit}. */
export interface FitOptions {
  /** k: number of classes; the network's output is [n, k]. */
  readonly classes: number;
  /** Scores that the network gives where it was trained on other classes; needs `last: "nearestMean"`. Default `classes`. */
  readonly outputs?: number;
  /** Name of the model's output that is meant. Default: the only one [n, k]. */
  readonly output?: string;
  /** What that output holds, where neither its graph nor its values show it. Default: what they show. */
  readonly scores?: "logits" | "probabilities";
  /** Default `sharedCovariance`; `euclidean` is the paper's method. */
  readonly metric?: Metric;
  /** What exits read. Default `moments` for shared covariance, `full` for Euclidean. */
  readonly features?: FeatureKind;
  /**
   * Tensors the exits read, in order. Default for shared covariance: the block outputs nearest to 2/9, 4/9 and 7/9 of the
   * network's MACs; for Euclidean: every block's output, as in the paper.
   */
  readonly taps?: readonly string[];
  /** Euclidean only: how distances become a confidence. Default `normalised`, the paper's. */
  readonly rule?: DistanceRule;
  /** Euclidean only: answer by `raw` distances (default) or by `normalised` ones. */
  readonly predictFrom?: "raw" | "normalised";
  /** The last exit answers by its own `head` (default) or by the `nearestMean` of its outputs. */
  readonly last?: "head" | "nearestMean";
  /**
   * Samples that choose shrinkage and thresholds: best ones the network was not trained on. Default: one of every ten training
   * samples of each class is held out, up to 5,000 or 256 MB. They do not make the exits, but the network was usually trained on them, and
   * is surer of them than of new ones: what `reject` promises holds for samples like them.
   */
  readonly calibration?: Batches;
  /** Turn samples of no known class away; see `calibrateExits`. Default: every sample is given a class. */
  readonly reject?: RejectOptions;
  /** Probability that a guaranteed accuracy loss is exceeded all the same; see `calibrateExits`. Default 0.1. */
  readonly delta?: number;
  /** Where to run. Default: the best device there is, opened and closed by this call. */
  readonly device?: Device;
  /** Ends the call between two batches: it rejects with the signal's reason, streams are closed, the device can be used on. */
  readonly signal?: AbortSignal;
  /** Called after every batch with the samples of the pass so far, and of pass `solve` after every exit with the exits so far. */
  readonly onProgress?: (progress: FitProgress) => void;
}

const schema = decisionSchema.extend({
  classes: z.int().min(2),
  outputs: z.int().min(2).optional(),
  output: z.string().min(1).optional(),
  scores: z.enum(["logits", "probabilities"]).optional(),
  features: z.enum(["moments", "pooled", "full"]).optional(),
  taps: z.array(z.string()).min(1).readonly().optional(),
  calibration: batchesOption.optional(),
  reject: rejectOption,
  delta: deltaOption,
  signal: signalOption,
});

/**
 * Gives a trained classifier early exits by class means: one streaming pass over labelled batches, no gradient, no tuning.
 *
 * Means (and covariances) come from the training batches; shrinkage, and the thresholds of every operating point, from
 * calibration samples. Works on any ONNX model with one float32 input [n, ...] (n symbolic or 1, the rest fixed) and
 * scores [n, k]. Memory does not grow with the number of samples, but for those held out.
 *
 * @param batches Training samples. A function that starts the stream anew makes `euclidean` normalise by exact mean
 * distances (a second pass); a plain stream makes it use root mean square distances, which need no second pass.
 * @throws InputError on a model that is not a single-input classifier, an exit that is no tensor of it, bad batches, features that
 * are not finite, a class without samples, too few calibration samples, or unknown options.
 * Source: Görmez, Dasari, Koyuncu, "E²CM: Early Exit via Class Means", IJCNN 2022 [S]. Differs: metric and features default to what saves more on compact networks; see
 * {@link SharedCovarianceExit}; thresholds ask every exit for one probability of agreeing with the full network.
 * @example
 * ```ts
 * import { readModelFile, readSafetensorsFile, rows } from "@exitkit/core-gpu";
 * import { fit } from "@exitkit/e2cm";
 * const { train, trainLabels } = (await readSafetensorsFile("pictures.safetensors")).tensors;
 * const labels = trainLabels!.data as Int32Array;
 * const batches = (from: number, to: number) => [{ x: rows(train!, from, to), y: labels.subarray(from, to) }];
 * const model = await readModelFile("network.onnx");
 * const fitted = await fit(model, batches(0, 180), { classes: 4, calibration: batches(180, 240) });
 * console.assert(fitted.exits.length === 3 && fitted.operatingPoints.length > 0);
 * ```
 */
export async function fit(model: Model, batches: Batches | (() => Batches), options: FitOptions): Promise<FittedExits> {
  const caller = "e2cm.fit";
  const {
    classes,
    outputs = classes,
    metric,
    calibration,
    onProgress,
    ...checked
  } = parseOptions(caller, schema, options);
  const features = checked.features ?? (metric === "euclidean" ? "full" : "moments");
  const again = typeof batches === "function" ? batches : null;
  const stream = typeof batches === "function" ? batches() : batches;
  if (!isIterable(stream)) {
    throw new InputError(
      caller,
      "batches must be an iterable of { x, y }, or a function that returns one",
      typeof stream,
    );
  }
  checkHead(caller, checked.last, { outputs, classes });
  const device = checked.device ?? (await openDevice("auto"));
  try {
    const network = await inspectNetwork(caller, device, model, outputs, checked);
    const named = checked.taps?.map((tap) => readTap(network, tap));
    const taps = named ?? defaultTaps(caller, network, metric);
    if (taps.includes(network.output)) {
      const fix = 'Leave it out; it always answers last, by nearest mean with last: "nearestMean".';
      throw new InputError(caller, "exits must lie before the network's output", `"${network.output}"`, fix);
    }
    const heldOut = calibration === undefined ? holdOut(classes) : null;
    const statistics = await accumulate(caller, device, network, until(checked.signal, stream), {
      classes,
      outputs,
      setAside: heldOut?.trainOn,
      taps: checked.last === "nearestMean" || checked.reject?.by === "distance" ? [...taps, network.output] : taps,
      features,
      gram: metric === "sharedCovariance",
      onProgress: (samples) => onProgress?.({ pass: "fit", samples }),
    });
    const held = heldOut?.batches() ?? [];
    if (heldOut !== null)
      checkCalibrationSize(
        caller,
        held.reduce((sum, { y }) => sum + y.length, 0),
      );
    return await solveAndCalibrate(caller, device, network, statistics, {
      ...checked,
      metric,
      onProgress,
      calibration: until(checked.signal, calibration ?? held),
      heldOut: heldOut !== null,
      again:
        again === null ? null : () => until(checked.signal, heldOut === null ? again() : heldOut.leaveOut(again())),
    });
  } finally {
    if (checked.device === undefined) await device.close();
  }
}
