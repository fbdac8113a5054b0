import { type Device, InputError, type Model, openDevice, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { accumulate } from "./accumulate.ts";
import { type Batches, holdOut } from "./batches.ts";
import type { Metric } from "./closedForm.ts";
import { defaultTaps } from "./defaultTaps.ts";
import type { DistanceRule } from "./distances.ts";
import type { FeatureKind } from "./features.ts";
import type { FittedExits } from "./fittedExits.ts";
import { decisionSchema, solveAndCalibrate } from "./fromStatistics.ts";
import { inspectNetwork } from "./network.ts";

/** Options of {@link fit}. */
export interface FitOptions {
  /** k: number of classes; the network's output is [n, k]. */
  readonly classes: number;
  /** Default `sharedCovariance`; `euclidean` is the paper's method. */
  readonly metric?: Metric;
  /** What exits read. Default `moments` for shared covariance, `full` for Euclidean. */
  readonly features?: FeatureKind;
  /**
   * Tensors the exits read, in order. Default for shared covariance: the block outputs nearest to 2/9, 4/9 and 7/9 of the
   * network's MACs; for Euclidean: every block's output, as in the paper.
   */
  readonly exits?: readonly string[];
  /** Euclidean only: how distances become a confidence. Default `normalised`, the paper's. */
  readonly rule?: DistanceRule;
  /** Euclidean only: answer by `raw` distances (default) or by `normalised` ones. */
  readonly predictFrom?: "raw" | "normalised";
  /** Euclidean only: the last exit answers by its own `head` (default) or by the `nearestMean` of its outputs. */
  readonly last?: "head" | "nearestMean";
  /**
   * Pictures that choose shrinkage and thresholds: best ones the network was not trained on. Default: every tenth training
   * batch is held out, up to 5,000 pictures or 256 MB.
   */
  readonly calibration?: Batches;
  /** Where to run. Default: the best device there is, opened and closed by this call. */
  readonly device?: Device;
  readonly onProgress?: (progress: {
    readonly pass: "fit" | "distances" | "calibrate";
    readonly pictures: number;
  }) => void;
}

const schema = decisionSchema.extend({
  classes: z.int().min(2),
  features: z.enum(["moments", "pooled", "full"]).optional(),
  exits: z.array(z.string()).min(1).readonly().optional(),
  calibration: z.custom<Batches>(isIterable, "must be an iterable of batches").optional(),
});

function isIterable(value: unknown): boolean {
  return typeof value === "object" && value !== null && (Symbol.asyncIterator in value || Symbol.iterator in value);
}

/**
 * Gives a trained classifier early exits by class means: one streaming pass over labelled batches, no gradient, no tuning.
 *
 * Means (and covariances) come from the training batches; shrinkage, and the thresholds of every operating point, from
 * calibration pictures. Works on any ONNX model with one float32 input and scores [n, k].
 *
 * @param batches Training pictures. A function that starts the stream anew makes `euclidean` normalise by exact mean
 * distances (a second pass); a plain stream makes it use root mean square distances, which need no second pass.
 * @throws InputError on a model that is not a single-input classifier, an exit that is no tensor of it, bad batches, features that
 * are not finite, a class without pictures, too few calibration pictures, or unknown options.
 * Source: E²CM, papers.md section 1 [S]. Differs: metric and features default to what saves more on compact networks; see
 * `sharedCovariance`; thresholds ask every exit for one probability of agreeing with the full network.
 */
export async function fit(model: Model, batches: Batches | (() => Batches), options: FitOptions): Promise<FittedExits> {
  const caller = "e2cm.fit";
  const { classes, metric, calibration, onProgress, ...checked } = parseOptions(caller, schema, options);
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
  const device = checked.device ?? (await openDevice("auto"));
  try {
    const network = await inspectNetwork(caller, device, model, classes);
    const taps = checked.exits ?? defaultTaps(network, metric);
    const split = calibration === undefined ? holdOut(stream) : null;
    const statistics = await accumulate(caller, device, network, split?.training ?? stream, {
      classes,
      taps: checked.last === "nearestMean" ? [...taps, network.output] : taps,
      features,
      gram: metric === "sharedCovariance",
      onProgress: (pictures) => onProgress?.({ pass: "fit", pictures }),
    });
    return await solveAndCalibrate(caller, device, network, statistics, {
      ...checked,
      metric,
      onProgress,
      calibration: calibration ?? split!.heldOut(),
      heldOut: split !== null,
      again,
    });
  } finally {
    if (checked.device === undefined) await device.close();
  }
}
