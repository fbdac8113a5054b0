import { type ArgumentKind, InputError, tensor } from "@exitkit/core-gpu";
import {
  agreementFrontier,
  confidences,
  type ExitCosts,
  type ExitRecord,
  fitAgreement,
  type OperatingPoint,
  REJECTED,
} from "@exitkit/early-exit";
import type { FittedExit, OutputExit } from "../exits/exits.ts";
import { type DistanceRule, scoresOnHost } from "./distances.ts";
import { noveltyOnHost, outputScoresOnHost } from "./novelty.ts";
import type { Rejection } from "./rejection.ts";

/** What every exit scored for every sample of a data set. */
export interface ScoreRecord {
  readonly n: number;
  /** k: number of classes. */
  readonly classes: number;
  /**
   * `[e][n·k]`, row-major: log posteriors (shared covariance), raw distances (Euclidean); of the full network its logits, or what
   * the means of its outputs score where it answers by them.
   */
  readonly scores: readonly Float32Array[];
  /** `[n]`; −1: of no known class. */
  readonly labels: Int32Array;
}

/** What an argument must be that holds scores. */
export const SCORES: ArgumentKind = {
  n: "a number",
  classes: "a number",
  scores: "a list",
  labels: "numbers or bigints",
};

/** How recorded scores of Euclidean exits become confidences and answers; see `DecisionOptions`. */
interface HostDecision {
  readonly rule: DistanceRule;
  readonly predictFrom: "raw" | "normalised";
  readonly last: "head" | "nearestMean";
  readonly output: OutputExit | null;
  readonly rejection: Rejection | null;
}

/**
 * The exit record that recorded scores amount to: confidences by each exit's rule, answers by arg max (arg min of raw
 * distances), −1 where an exit rejects.
 */
export function recordFromScores(
  exits: readonly FittedExit[],
  record: ScoreRecord,
  { rule, predictFrom, last, output, rejection }: HostDecision,
): ExitRecord {
  const { n, classes, scores, labels } = record;
  const distance = rejection?.by === "distance" ? noveltyOfRecord(exits, record, { last, output }) : null;
  const rows = scores.map((own, index) => {
    const exit = exits[index] ?? (last === "nearestMean" ? output : null);
    const ruled = exit?.metric === "euclidean" ? scoresOnHost(rule, own, exit.distances) : null;
    const confidence = Float32Array.from(confidences(ruled ?? tensor("float32", [n, classes], own), "maxProbability"));
    const predictions = answersOf(exit, own, { classes, rule, predictFrom });
    if (rejection !== null) {
      const threshold = Math.fround(rejection.thresholds[index]!);
      const novelty = distance?.[index] ?? confidence.map((value) => 1 - value);
      novelty.forEach((value, row) => {
        // As in the graph: NaN is novel.
        if (value <= threshold) return;
        predictions[row] = REJECTED;
        if (rejection.at === "everyExit") confidence[row] = 1;
      });
    }
    return { confidence, predictions };
  });
  return {
    exits: [...exits.map(({ tap }) => tap), "full"],
    n,
    confidences: rows.map(({ confidence }) => confidence),
    predictions: rows.map(({ predictions }) => predictions),
    labels,
  };
}

/**
 * What an exit answers to recorded scores, [n]: arg max, or of Euclidean exits the nearest mean.
 *
 * @param exit Null: the network's own head.
 */
export function answersOf(
  exit: OutputExit | null,
  scores: Float32Array,
  { classes, rule, predictFrom }: Pick<HostDecision, "rule" | "predictFrom"> & { readonly classes: number },
): Int32Array {
  if (exit?.metric !== "euclidean") return argMaxRows(scores, classes);
  const nearness = predictFrom === "raw" ? scores.map((d) => -d) : scoresOnHost(rule, scores, exit.distances).data;
  return argMaxRows(nearness, classes);
}

/** Novelty of every recorded sample at every exit, `[e][n]`. */
export function noveltyOfRecord(
  exits: readonly FittedExit[],
  { scores }: ScoreRecord,
  { last, output }: Pick<HostDecision, "last" | "output">,
): readonly Float32Array[] {
  return scores.map((own, index) => {
    const exit = exits[index];
    if (exit !== undefined) return noveltyOnHost(own, exit);
    return noveltyOnHost(last === "head" ? outputScoresOnHost(own, output!).data : own, output!);
  });
}

/** Index of the largest of each row's k numbers; the first of equal ones. */
export function argMaxRows(values: Float32Array, k: number): Int32Array {
  return Int32Array.from({ length: values.length / k }, (_, row) => {
    let best = 0;
    for (let c = 1; c < k; c++) if (values[row * k + c]! > values[row * k + best]!) best = c;
    return best;
  });
}

/** Refuses fewer than 50 calibration pictures: a threshold chosen on less means nothing. */
export function checkCalibrationSize(caller: string, samples: number): void {
  if (samples >= 50) return;
  throw new InputError(
    caller,
    "thresholds need at least 50 calibration samples",
    `${samples}`,
    "Pass `calibration` batches, or more training samples (one of ten is held out for calibration).",
  );
}

/**
 * Operating points of a record from the cheapest to the most accurate: one probability of agreeing with the full network asked
 * of all exits; some hundreds at most, closest together where little accuracy is lost.
 *
 * @param plain The same record without rejection: what a rejected sample's confidence was changed to says nothing of agreement.
 */
export function operatingPointsOf(record: ExitRecord, plain: ExitRecord, costs: ExitCosts): readonly OperatingPoint[] {
  return agreementFrontier(record, costs, fitAgreement(plain));
}
