import { InputError, tensor } from "@exitkit/core-gpu";
import {
  agreementFrontier,
  confidences,
  type ExitCosts,
  type ExitRecord,
  fitAgreement,
  type OperatingPoint,
} from "@exitkit/early-exit";
import type { ClassMeans } from "./classMeans.ts";
import { type DistanceRule, scoresOnHost } from "./distances.ts";
import { exitName, type FittedExit } from "./exits.ts";

/** What every exit scored for every sample of a data set. */
export interface ScoreRecord {
  readonly n: number;
  /** k: number of classes. */
  readonly classes: number;
  /** `[e][n·k]`, row-major: log posteriors (shared covariance), raw distances (Euclidean), logits (the full network). */
  readonly scores: readonly Float32Array[];
  /** `[n]`. */
  readonly labels: Int32Array;
}

/** How recorded scores of Euclidean exits become confidences and answers; see `DecisionOptions`. */
export interface HostDecision {
  readonly rule: DistanceRule;
  readonly predictFrom: "raw" | "normalised";
  readonly lastMeans: ClassMeans | null;
}

/**
 * The exit record that recorded scores amount to: confidences by each exit's rule, answers by arg max (arg min of raw
 * distances). The last row of scores is the full network's logits.
 */
export function recordFromScores(
  exits: readonly FittedExit[],
  { n, classes, scores, labels }: ScoreRecord,
  { rule, predictFrom, lastMeans }: HostDecision,
): ExitRecord {
  const rows = scores.map((own, index) => {
    const exit = exits[index];
    const means = exit === undefined ? lastMeans : exit.metric === "euclidean" ? exit : null;
    if (means === null) {
      return { confidence: confidences(tensor("float32", [n, classes], own), "maxProbability"), answers: own };
    }
    const ruled = scoresOnHost(rule, own, means.distances);
    return {
      confidence: confidences(ruled, "maxProbability"),
      answers: predictFrom === "raw" ? own.map((d) => -d) : ruled.data,
    };
  });
  return {
    exits: [...exits.map((_, index) => exitName(index)), "full"],
    n,
    confidences: rows.map(({ confidence }) => Float32Array.from(confidence)),
    predictions: rows.map(({ answers }) => argMaxRows(answers, classes)),
    labels,
  };
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
export function checkCalibrationSize(caller: string, pictures: number): void {
  if (pictures >= 50) return;
  throw new InputError(
    caller,
    "thresholds need at least 50 calibration pictures",
    `${pictures}`,
    "Pass `calibration` batches, or more and smaller training batches (every tenth is held out for calibration).",
  );
}

/**
 * Operating points of a record from the cheapest to the most accurate: one probability of agreeing with the full network asked
 * of all exits; some hundreds at most, closest together where little accuracy is lost.
 *
 * @throws InputError when the record has fewer than 50 samples: a threshold chosen on less means nothing.
 */
export function operatingPointsOf(caller: string, record: ExitRecord, costs: ExitCosts): readonly OperatingPoint[] {
  checkCalibrationSize(caller, record.n);
  return agreementFrontier(record, costs, fitAgreement(record));
}
