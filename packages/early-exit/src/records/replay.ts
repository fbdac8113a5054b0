import { InputError } from "@exitkit/core-gpu";
import { checkCosts, type ExitCosts } from "../costs/cost.ts";
import { checkRecord, type ExitRecord } from "./record.ts";

/** A threshold no confidence exceeds: nothing leaves at this exit. */
export const NEVER = 2;

/** A threshold every confidence exceeds: all that arrive leave at this exit. */
export const ALWAYS = -1;

/** Thresholds and what they give on some record. */
export interface OperatingPoint {
  /** `[e − 1]`, in the unit of the confidences; float32 values. */
  readonly thresholds: readonly number[];
  /** Fraction of the samples answered rightly. */
  readonly accuracy: number;
  /** Mean MACs a sample. */
  readonly meanCost: number;
  /** `meanCost / costs.full`; the exits' overhead can carry it above 1. */
  readonly costFraction: number;
}

/** An operating point with every sample's fate. */
export interface Replay extends OperatingPoint {
  /** `[n]`: the exit each sample left at, from 0. */
  readonly leftAt: Int32Array;
  /** `[n]`: the class answered. */
  readonly predictions: Int32Array;
  /** `[e]`: fraction of the samples that left at each exit; they sum to 1. */
  readonly shares: readonly number[];
}

/**
 * Replays recorded confidences under thresholds: each sample leaves at the first exit whose confidence is strictly
 * greater than its threshold, at the last exit otherwise.
 *
 * Thresholds are rounded to float32 first, as a running network holds them, so that replay and execution agree sample
 * by sample.
 *
 * @param record Confidences, predictions and labels, n samples and e exits.
 * @param thresholds `[e − 1]`; {@link NEVER} and {@link ALWAYS} switch an exit off or make it the last.
 * @throws InputError on a bad record, costs that do not increase, or thresholds that are not e − 1 numbers.
 * Source: E²CM (IJCNN 2022), exit rule [S].
 * @example
 * ```ts
 * import { replay } from "@exitkit/early-exit";
 * const record = {
 *   exits: ["early", "full"], n: 2, labels: Int32Array.of(0, 1),
 *   confidences: [Float32Array.of(0.9, 0.6), Float32Array.of(0.9, 0.8)],
 *   predictions: [Int32Array.of(0, 0), Int32Array.of(0, 1)],
 * };
 * const { accuracy, meanCost } = replay(record, [0.7], { exits: [10, 30], full: 30 });
 * console.assert(accuracy === 1 && meanCost === 20);
 * ```
 */
export function replay(record: ExitRecord, thresholds: readonly number[], costs: ExitCosts): Replay {
  const caller = "early-exit.replay";
  checkRecord(caller, record);
  checkCosts(caller, costs, record.exits.length);
  if (thresholds.length !== record.exits.length - 1) {
    throw new InputError(
      caller,
      `${record.exits.length} exits need ${record.exits.length - 1} thresholds, none for the last`,
      `${thresholds.length}`,
    );
  }
  const bad = thresholds.findIndex((threshold) => typeof threshold !== "number" || Number.isNaN(threshold));
  if (bad >= 0) throw new InputError(caller, "every threshold must be a number", `${thresholds[bad]} at exit ${bad}`);
  return replayChecked(record, thresholds, costs);
}

/** {@link replay} of arguments that were checked before. */
export function replayChecked(record: ExitRecord, thresholds: readonly number[], costs: ExitCosts): Replay {
  const { n, confidences, labels } = record;
  const e = record.exits.length;
  const held = thresholds.map(Math.fround);
  const leftAt = new Int32Array(n);
  const predictions = new Int32Array(n);
  const counts = new Array<number>(e).fill(0);
  let right = 0;
  for (let i = 0; i < n; i++) {
    let j = 0;
    while (j < e - 1 && !(confidences[j]![i]! > held[j]!)) j++;
    leftAt[i] = j;
    predictions[i] = record.predictions[j]![i]!;
    counts[j]!++;
    if (predictions[i] === labels[i]) right++;
  }
  const meanCost = counts.reduce((sum, count, j) => sum + count * costs.exits[j]!, 0) / n;
  return {
    thresholds: held,
    accuracy: right / n,
    meanCost,
    costFraction: meanCost / costs.full,
    leftAt,
    predictions,
    shares: counts.map((count) => count / n),
  };
}
