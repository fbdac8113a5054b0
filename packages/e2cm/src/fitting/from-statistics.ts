import { checkArguments, type Device, InputError, type Model, openDevice, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { DISTANCE_RULES, type DistanceRule } from "../decisions/distances.ts";
import { meanDistances } from "../decisions/mean-distances.ts";
import { type RejectOptions, rejectOption } from "../decisions/rejection.ts";
import { closedFormExits, type Metric } from "../exits/closed-form.ts";
import { type ClassMeansExit, checkSameModel, costsOf, type FittedExit, type OutputExit } from "../exits/exits.ts";
import type { FittedExits } from "../exits/fitted-exits.ts";
import type { Shrinkage } from "../exits/shared-covariance.ts";
import type { Batches } from "../network/batches.ts";
import { featureMap } from "../network/features.ts";
import { inspectNetwork, type Network, sampleShape } from "../network/network.ts";
import { batchesOption, callbackOption, deviceOption } from "../options.ts";
import type { ClassStatistics } from "../statistics/statistics.ts";
import { STATISTICS } from "../statistics/statistics.ts";
import { calibrated, deltaOption } from "./calibrate-exits.ts";

/** What a fit is at. */
export type FitProgress =
  | { readonly pass: "fit" | "distances" | "calibrate"; readonly samples: number }
  | { readonly pass: "solve"; readonly exits: number };

/** How exits are made from statistics and how they decide. */
export interface DecisionSettings {
  /** Default `sharedCovariance`; `euclidean` is the paper's method. */
  readonly metric?: Metric;
  /** Euclidean only: how distances become a confidence. Default `normalised`, the paper's. */
  readonly rule?: DistanceRule;
  /** Euclidean only: answer by `raw` distances (default) or by `normalised` ones. */
  readonly predictFrom?: "raw" | "normalised";
  /**
   * The last exit answers by its own `head` (default) or by the `nearestMean` of the network's outputs: needed where the classes
   * are not the network's own.
   */
  readonly last?: "head" | "nearestMean";
  /** Where to run. Default: the best device there is, opened and closed by the call. */
  readonly device?: Device;
  /** Called after every batch with the samples of the pass so far, and of pass `solve` after every exit with the exits so far. */
  readonly onProgress?: (progress: FitProgress) => void;
}

/** Options of {@link fitFromStatistics}. */
export interface FromStatisticsOptions extends DecisionSettings {
  /** Samples that choose shrinkage and thresholds: best ones the network was not trained on. */
  readonly calibration: Batches;
  /** Turn samples of no known class away; see `calibrateExits`. Default: every sample is given a class. */
  readonly reject?: RejectOptions;
  /** Probability that a guaranteed accuracy loss is exceeded all the same; see `calibrateExits`. Default 0.1. */
  readonly delta?: number;
}

export const decisionSchema = z.strictObject({
  metric: z.enum(["sharedCovariance", "euclidean"]).default("sharedCovariance"),
  rule: z.enum(DISTANCE_RULES as [DistanceRule, ...DistanceRule[]]).default("normalised"),
  predictFrom: z.enum(["raw", "normalised"]).default("raw"),
  last: z.enum(["head", "nearestMean"]).default("head"),
  device: deviceOption,
  onProgress: callbackOption<NonNullable<DecisionSettings["onProgress"]>>(),
});

const schema = decisionSchema.extend({ calibration: batchesOption, reject: rejectOption, delta: deltaOption });

/** Shrinkage weights tried on the calibration samples, besides the analytic one. */
const SHRINKAGES: readonly Shrinkage[] = ["analytic", 0.1, 0.3];

/**
 * The second half of `fit`: exits and operating points from statistics that were accumulated before, in one pass or merged
 * from several shards.
 *
 * @throws InputError on statistics of another model, a class without samples, too few calibration samples, bad batches or
 * unknown options.
 * @example
 * ```ts
 * import { readModelFile, readSafetensorsFile, rows } from "@exitkit/core-gpu";
 * import { accumulateStatistics, fitFromStatistics, mergeStatistics } from "@exitkit/e2cm";
 * const { train, trainLabels } = (await readSafetensorsFile("pictures.safetensors")).tensors;
 * const labels = trainLabels!.data as Int32Array;
 * const batches = (from: number, to: number) => [{ x: rows(train!, from, to), y: labels.subarray(from, to) }];
 * const model = await readModelFile("network.onnx");
 * const shards = [batches(0, 90), batches(90, 180)].map((shard) => accumulateStatistics(model, shard, { classes: 4 }));
 * const [one, two] = await Promise.all(shards);
 * const fitted = await fitFromStatistics(model, mergeStatistics(one!, two!), { calibration: batches(180, 240) });
 * console.assert(fitted.calibration?.samples === 60);
 * ```
 */
export async function fitFromStatistics(
  model: Model,
  statistics: ClassStatistics,
  options: FromStatisticsOptions,
): Promise<FittedExits> {
  const caller = "e2cm.fitFromStatistics";
  const checked = parseOptions(caller, schema, options);
  const device = checked.device ?? (await openDevice("auto"));
  try {
    const network = await inspectNetwork(caller, device, model, statistics.outputs, { as: statistics.scoresFrom });
    checkSameModel(caller, statistics.modelHash, network);
    return await solveAndCalibrate(caller, device, network, statistics, { ...checked, heldOut: false, again: null });
  } finally {
    if (checked.device === undefined) await device.close();
  }
}

/** Options of {@link solveExits}. */
export interface SolveOptions extends Omit<DecisionSettings, "onProgress"> {
  /** Shared covariance only: how far the covariance is drawn to independence. Default `analytic`. */
  readonly shrinkage?: Shrinkage;
}

const solveSchema = decisionSchema.omit({ onProgress: true }).extend({
  shrinkage: z.union([z.literal("analytic"), z.number().min(0).max(1)]).default("analytic"),
});

/**
 * Exits from statistics in closed form, without calibration: `operatingPoints` is empty, so `openClassifier` needs thresholds.
 * For sweeps and for choosing thresholds in other ways, with {@link recordScores}.
 *
 * @throws InputError on statistics of another model, a class without samples, or unknown options.
 */
export async function solveExits(
  model: Model,
  statistics: ClassStatistics,
  options: SolveOptions = {},
): Promise<FittedExits> {
  const caller = "e2cm.solveExits";
  checkArguments(caller, { statistics: [statistics, STATISTICS] });
  const checked = parseOptions(caller, solveSchema, options);
  const device = checked.device ?? (await openDevice("auto"));
  try {
    const network = await inspectNetwork(caller, device, model, statistics.outputs, { as: statistics.scoresFrom });
    checkSameModel(caller, statistics.modelHash, network);
    const [solved] = await solveVariants(caller, device, network, statistics, {
      ...checked,
      shrinkages: [checked.shrinkage],
    });
    return solved!;
  } finally {
    if (checked.device === undefined) await device.close();
  }
}

/** Sets the class means of the network's own outputs apart from the early exits. */
function splitLast(
  caller: string,
  network: Network,
  exits: readonly FittedExit[],
  statistics: ClassStatistics,
  last: SolveSettings["last"],
): { early: readonly FittedExit[]; output: OutputExit | null } {
  const found = exits.find((exit) => exit.tap === network.output);
  if (last === "nearestMean" && found === undefined) {
    throw new InputError(
      caller,
      'last: "nearestMean" needs class means of the network\'s output',
      "no statistics of it",
      `Name "${network.output}" as the last of the exits that statistics are accumulated for.`,
    );
  }
  checkHead(caller, last, statistics);
  return { early: exits.filter((exit) => exit !== found), output: found === undefined ? null : withoutPlace(found) };
}

/** Refuses a head that answers other classes than the exits do. */
export function checkHead(
  caller: string,
  last: "head" | "nearestMean",
  { outputs, classes }: { readonly outputs: number; readonly classes: number },
): void {
  if (last === "nearestMean" || outputs === classes) return;
  throw new InputError(
    caller,
    "the network's own head can only answer the classes that it was trained on",
    `${outputs} outputs for ${classes} classes`,
    'Let the last exit answer by nearest mean: last: "nearestMean".',
  );
}

function withoutPlace({ tap, map, ...means }: FittedExit): OutputExit {
  return means;
}

interface SolveSettings extends Required<Pick<DecisionSettings, "metric" | "rule" | "predictFrom" | "last">> {
  readonly shrinkages: readonly Shrinkage[];
  readonly onProgress?: DecisionSettings["onProgress"] | undefined;
}

/** Closed form on a network that was inspected before; one set of exits for each shrinkage. */
async function solveVariants(
  caller: string,
  device: Device,
  network: Network,
  statistics: ClassStatistics,
  settings: SolveSettings,
): Promise<readonly FittedExits[]> {
  const { metric, rule, predictFrom, last, shrinkages, onProgress } = settings;
  const solved = (exits: number) => onProgress?.({ pass: "solve", exits });
  const variants = await closedFormExits(caller, device, network, statistics, metric, shrinkages, solved);
  return variants.map((exits) => {
    const { early, output } = splitLast(caller, network, exits, statistics, last);
    return {
      modelHash: network.hash,
      scoresFrom: network.scoresFrom,
      classes: statistics.classes,
      rule,
      predictFrom,
      last,
      output,
      exits: early,
      counts: [...statistics.counts],
      rejection: null,
      costs: costsOf(network, early),
      operatingPoints: [],
      guarded: null,
      calibration: null,
    };
  });
}

interface FitSettings extends Omit<SolveSettings, "shrinkages"> {
  readonly calibration: Batches;
  readonly reject?: Required<RejectOptions> | undefined;
  readonly heldOut: boolean;
  readonly delta: number;
  /** Starts the training stream anew, for exact mean distances; null: root mean square distances are good enough. */
  readonly again: (() => Batches) | null;
}

/** Closed form for every shrinkage, then everything that calibration samples decide. */
export async function solveAndCalibrate(
  caller: string,
  device: Device,
  network: Network,
  statistics: ClassStatistics,
  settings: FitSettings,
): Promise<FittedExits> {
  const { again, onProgress } = settings;
  let candidates = await solveVariants(caller, device, network, statistics, { ...settings, shrinkages: SHRINKAGES });
  if (settings.metric === "euclidean" && again !== null) {
    const seen = statistics.counts.reduce((total, count) => total + count, 0);
    const report = (samples: number) => onProgress?.({ pass: "distances", samples });
    candidates = [await withMeanDistances(caller, device, network, candidates[0]!, again(), seen, report)];
  }
  return calibrated(caller, device, network, candidates, {
    ...settings,
    onProgress: (samples) => onProgress?.({ pass: "calibrate", samples }),
  });
}

/** The exits (and class means of the outputs) normalised by the mean distances of a second pass. */
async function withMeanDistances(
  caller: string,
  device: Device,
  network: Network,
  fitted: FittedExits,
  batches: Batches,
  seen: number,
  onProgress: (samples: number) => void,
): Promise<FittedExits> {
  const early = fitted.exits as readonly ClassMeansExit[];
  const output = fitted.output as (OutputExit & { metric: "euclidean" }) | null;
  const place = { tap: network.output, map: featureMap("full", sampleShape(caller, network, network.output)) };
  const last: ClassMeansExit[] = output === null ? [] : [{ ...output, ...place }];
  let samples = 0;
  const distances = await meanDistances(caller, device, network, [...early, ...last], batches, (done) => {
    samples = done;
    onProgress(samples);
  });
  if (samples !== seen) {
    const expectation = `the second pass must see the same ${seen} training samples as the first`;
    const fix = "Pass a function that starts the stream anew every time it is called.";
    throw new InputError(caller, expectation, `${samples}`, fix);
  }
  return {
    ...fitted,
    exits: early.map((exit, index) => ({ ...exit, distances: distances[index]! })),
    output: output === null ? null : { ...output, distances: distances.at(-1)! },
  };
}
