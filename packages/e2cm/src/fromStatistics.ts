import { type Device, InputError, type Model, openDevice, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import type { Batches } from "./batches.ts";
import { argMaxRows, operatingPointsOf, recordFromScores, type ScoreRecord } from "./calibrate.ts";
import type { ClassMeans } from "./classMeans.ts";
import { closedFormExits, type Metric } from "./closedForm.ts";
import { DISTANCE_RULES, type DistanceRule } from "./distances.ts";
import { attachHeads, type ClassMeansExit, checkSameModel, costsOf, type FittedExit } from "./exits.ts";
import type { FittedExits } from "./fittedExits.ts";
import { meanDistances } from "./meanDistances.ts";
import { inspectNetwork, type Network } from "./network.ts";
import { runScores } from "./scores.ts";
import type { Shrinkage } from "./sharedCovariance.ts";
import type { ClassStatistics } from "./statistics.ts";

/** How exits are made from statistics and how they decide. */
export interface DecisionSettings {
  /** Default `sharedCovariance`; `euclidean` is the paper's method. */
  readonly metric?: Metric;
  /** Euclidean only: how distances become a confidence. Default `normalised`, the paper's. */
  readonly rule?: DistanceRule;
  /** Euclidean only: answer by `raw` distances (default) or by `normalised` ones. */
  readonly predictFrom?: "raw" | "normalised";
  /** The last exit answers by its own `head` (default) or by the `nearestMean` of the network's outputs. */
  readonly last?: "head" | "nearestMean";
  /** Where to run. Default: the best device there is, opened and closed by the call. */
  readonly device?: Device;
  /** Called after every batch. */
  readonly onProgress?: (progress: {
    readonly pass: "fit" | "distances" | "calibrate";
    readonly pictures: number;
  }) => void;
}

/** Options of {@link fitFromStatistics}. */
export interface FromStatisticsOptions extends DecisionSettings {
  /** Pictures that choose shrinkage and thresholds: best ones the network was not trained on. */
  readonly calibration: Batches;
}

export const decisionSchema = z.strictObject({
  metric: z.enum(["sharedCovariance", "euclidean"]).default("sharedCovariance"),
  rule: z.enum(DISTANCE_RULES as [DistanceRule, ...DistanceRule[]]).default("normalised"),
  predictFrom: z.enum(["raw", "normalised"]).default("raw"),
  last: z.enum(["head", "nearestMean"]).default("head"),
  device: z.custom<Device>().optional(),
  onProgress: z.custom<NonNullable<DecisionSettings["onProgress"]>>((value) => typeof value === "function").optional(),
});

const schema = decisionSchema.extend({ calibration: z.custom<Batches>() });

/** Shrinkage weights tried on the calibration pictures, besides the analytic one. */
const SHRINKAGES: readonly Shrinkage[] = ["analytic", 0.03, 0.1, 0.3];

/**
 * The second half of `fit`: exits and operating points from statistics that were accumulated before, in one pass or merged
 * from several shards.
 *
 * @throws InputError on statistics of another model, a class without pictures, too few calibration pictures, bad batches or
 * unknown options.
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
    const network = await inspectNetwork(caller, device, model, statistics.classes);
    checkSameModel(caller, statistics.modelHash, network.hash);
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
 * @throws InputError on statistics of another model, a class without pictures, or unknown options.
 */
export async function solveExits(
  model: Model,
  statistics: ClassStatistics,
  options: SolveOptions = {},
): Promise<FittedExits> {
  const caller = "e2cm.solveExits";
  const checked = parseOptions(caller, solveSchema, options);
  const device = checked.device ?? (await openDevice("auto"));
  try {
    const network = await inspectNetwork(caller, device, model, statistics.classes);
    checkSameModel(caller, statistics.modelHash, network.hash);
    const [exits] = await closedFormExits(caller, device, network, statistics, checked.metric, [checked.shrinkage]);
    const { early, lastMeans } = splitLast(caller, network, exits!, checked);
    const { rule, predictFrom } = checked;
    const { classes } = statistics;
    const costs = costsOf(network, early);
    return {
      modelHash: network.hash,
      classes,
      rule,
      predictFrom,
      lastMeans,
      exits: early,
      costs,
      operatingPoints: [],
      calibration: null,
    };
  } finally {
    if (checked.device === undefined) await device.close();
  }
}

/** Sets the class means of the network's own outputs apart from the early exits. */
function splitLast(
  caller: string,
  network: Network,
  exits: readonly FittedExit[],
  { metric, last }: Pick<SolveSettings, "metric" | "last">,
): { early: readonly FittedExit[]; lastMeans: ClassMeans | null } {
  const found = exits.find((exit) => exit.tap === network.output);
  if (last === "nearestMean" && found?.metric !== "euclidean") {
    throw new InputError(
      caller,
      'last: "nearestMean" needs Euclidean class means of the network\'s output',
      found === undefined ? "no statistics of it" : `metric "${metric}"`,
      `Accumulate with metric "euclidean" and name "${network.output}" as the last exit.`,
    );
  }
  return {
    early: exits.filter((exit) => exit.tap !== network.output),
    lastMeans:
      last === "nearestMean" && found?.metric === "euclidean"
        ? { means: found.means, distances: found.distances }
        : null,
  };
}

interface SolveSettings extends Required<Pick<DecisionSettings, "metric" | "rule" | "predictFrom" | "last">> {
  readonly calibration: Batches;
  readonly heldOut: boolean;
  /** Starts the training stream anew, for exact mean distances; null: root mean square distances are good enough. */
  readonly again: (() => Batches) | null;
  readonly onProgress?: DecisionSettings["onProgress"] | undefined;
}

/** Closed form, then everything that calibration pictures decide. */
export async function solveAndCalibrate(
  caller: string,
  device: Device,
  network: Network,
  statistics: ClassStatistics,
  settings: SolveSettings,
): Promise<FittedExits> {
  const { metric, rule, predictFrom, onProgress } = settings;
  const { classes } = statistics;
  let variants = await closedFormExits(caller, device, network, statistics, metric, SHRINKAGES);
  if (metric === "euclidean" && settings.again !== null) {
    variants = [await withMeanDistances(caller, device, network, variants[0] as readonly ClassMeansExit[], settings)];
  }
  const { lastMeans } = splitLast(caller, network, variants[0]!, settings);
  const early = variants.map((exits) => exits.filter((exit) => exit.tap !== network.output));
  const exitModel = attachHeads(network, early.flat(), { rule, predictFrom, lastMeans });
  const scored = await runScores(caller, device, exitModel, classes, settings.calibration, (pictures) =>
    onProgress?.({ pass: "calibrate", pictures }),
  );
  const { exits, scores } = bestVariants(early, scored);
  const record = recordFromScores(exits, scores, { rule, predictFrom, lastMeans });
  const costs = costsOf(network, exits);
  return {
    modelHash: network.hash,
    classes,
    rule,
    predictFrom,
    lastMeans,
    exits,
    costs,
    operatingPoints: operatingPointsOf(caller, record, costs),
    calibration: {
      pictures: record.n,
      fullAccuracy: fractionRight(record.predictions.at(-1)!, record.labels),
      heldOut: settings.heldOut,
    },
  };
}

/** Of every exit the variant (shrinkage) that answers most calibration pictures rightly. */
function bestVariants(
  variants: readonly (readonly FittedExit[])[],
  scored: ScoreRecord,
): { exits: readonly FittedExit[]; scores: ScoreRecord } {
  const count = variants[0]!.length;
  const chosen = variants[0]!.map((_, exit) => {
    const accuracies = variants.map((_variant, variant) =>
      fractionRight(argMaxRows(scored.scores[variant * count + exit]!, scored.classes), scored.labels),
    );
    return accuracies.indexOf(Math.max(...accuracies));
  });
  return {
    exits: chosen.map((variant, exit) => variants[variant]![exit]!),
    scores: {
      ...scored,
      scores: [...chosen.map((variant, exit) => scored.scores[variant * count + exit]!), scored.scores.at(-1)!],
    },
  };
}

function fractionRight(answers: Int32Array, labels: Int32Array): number {
  return answers.reduce((sum, answer, i) => sum + (answer === labels[i] ? 1 : 0), 0) / Math.max(1, labels.length);
}

async function withMeanDistances(
  caller: string,
  device: Device,
  network: Network,
  exits: readonly ClassMeansExit[],
  { again, onProgress }: SolveSettings,
): Promise<readonly ClassMeansExit[]> {
  const distances = await meanDistances(caller, device, network, exits, again!(), (pictures) =>
    onProgress?.({ pass: "distances", pictures }),
  );
  return exits.map((exit, index) => ({ ...exit, distances: distances[index]! }));
}
