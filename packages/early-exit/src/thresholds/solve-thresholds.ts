import { InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkCosts, type ExitCosts } from "../costs/cost.ts";
import { checkRecord, type ExitRecord } from "../records/record.ts";
import { type OperatingPoint, replayChecked } from "../records/replay.ts";
import { choice } from "./search/descent.ts";
import { COST_SLACK, type Goal } from "./search/goal.ts";
import { goodChoice } from "./search/heuristic.ts";
import { thresholdProblem, thresholdsOf } from "./search/problem.ts";
import { prove } from "./search/proof.ts";

/** What {@link solveThresholds} is to reach: the cheapest within an accuracy loss, or the most accurate within a cost. */
export type ThresholdGoal =
  /** Accuracy may fall below the full network's (on the record) by at most this, in [0, 1]; 0.01 is one point. */
  | { readonly maxAccuracyLoss: number }
  /** Mean cost may be at most this fraction of `costs.full`. */
  | { readonly meanCost: number };

/** An operating point, and how much is known about it. */
export interface Solved extends OperatingPoint {
  /** True when proven: no other thresholds, over all recorded confidences, are better on this record. */
  readonly optimal: boolean;
  /**
   * What no thresholds can beat on this record: the least mean cost in MACs (goal `maxAccuracyLoss`) or the highest
   * accuracy (goal `meanCost`). Equals the point's own when `optimal`.
   */
  readonly bound: number;
  /** `[e − 1]` how many thresholds of each exit were in question, after those that cannot be best were left out. */
  readonly levels: readonly number[];
}

const schema = z.strictObject({ effort: z.number().min(0).max(1000).default(1) });

/** Sample visits of effort 1: some seconds of one core. */
const WORK = 8e7;

/**
 * Finds the best thresholds on a record: least mean cost with accuracy ≥ the full network's − `maxAccuracyLoss`, or
 * highest accuracy with mean cost ≤ `meanCost` · `costs.full`. Deterministic.
 *
 * Every threshold that routes the recorded samples differently is considered (all distinct confidences, ALWAYS and
 * NEVER). A good choice is found by coordinate descent and moves of two thresholds; then branch and bound with
 * Lagrangian-decomposition bounds tries to prove that nothing is better. A threshold is returned as the float32 in the
 * middle between the two neighbouring recorded confidences, so replay and a running network route the record alike.
 *
 * Thresholds are fitted to the record: on few samples they overfit, and accuracy on new samples is lower than the one
 * returned. Choose them on a calibration set the network was not trained on, of some thousand samples; ask for a smaller
 * loss than can be borne (one standard error of an accuracy a is √(a(1 − a)/n)); report on a test set.
 *
 * @param goal `{ maxAccuracyLoss }` in [0, 1], or `{ meanCost }`, a fraction of `costs.full`, at least the first exit's.
 * @param options.effort How long to try the proof, ≥ 0, default 1 (some seconds at most); 0 skips it.
 * @throws InputError on a bad record, costs that do not increase, a goal out of range or unknown options.
 * Differs: the paper draws thresholds at random ({@link searchThresholds}); this finds the best ones.
 * @example
 * ```ts
 * import { solveThresholds } from "@exitkit/early-exit";
 * const record = {
 *   exits: ["early", "full"], n: 2, labels: Int32Array.of(0, 1),
 *   confidences: [Float32Array.of(0.9, 0.6), Float32Array.of(0.9, 0.8)],
 *   predictions: [Int32Array.of(0, 0), Int32Array.of(0, 1)],
 * };
 * const solved = solveThresholds(record, { exits: [10, 30], full: 30 }, { maxAccuracyLoss: 0 });
 * console.assert(solved.optimal && solved.meanCost === 20);
 * ```
 */
export function solveThresholds(
  record: ExitRecord,
  costs: ExitCosts,
  goal: ThresholdGoal,
  options?: { readonly effort?: number },
): Solved {
  const caller = "early-exit.solveThresholds";
  checkRecord(caller, record);
  checkCosts(caller, costs, record.exits.length);
  const { effort } = parseOptions(caller, schema, options);
  const problem = thresholdProblem(record, costs);
  const inner = goalOf(caller, goal, record, costs, problem.unit);
  const found = goodChoice(problem, inner) ?? { best: choice(problem, Int32Array.from(problem.positions)), price: 1 };
  const proof = prove(problem, inner, found.best, found.price, effort * WORK);
  const point = replayChecked(record, thresholdsOf(problem, proof.best.positions), costs);
  return {
    thresholds: point.thresholds,
    accuracy: point.accuracy,
    meanCost: point.meanCost,
    costFraction: point.costFraction,
    optimal: proof.optimal,
    bound: inner.minimise === "cost" ? (proof.bound / record.n) * problem.unit : proof.bound / record.n,
    levels: problem.positions.map((highest) => highest + 1),
  };
}

function goalOf(caller: string, goal: ThresholdGoal, record: ExitRecord, costs: ExitCosts, unit: number): Goal {
  const given = Object.keys(goal);
  if (given.length !== 1 || (given[0] !== "maxAccuracyLoss" && given[0] !== "meanCost")) {
    throw new InputError(caller, "the goal must be { maxAccuracyLoss } or { meanCost }", `{ ${given.join(", ")} }`);
  }
  if ("maxAccuracyLoss" in goal) {
    const loss = goal.maxAccuracyLoss;
    if (!(loss >= 0 && loss <= 1)) throw new InputError(caller, "maxAccuracyLoss must lie in [0, 1]", `${loss}`);
    const full = record.predictions.at(-1)!.reduce((sum, answer, i) => sum + (answer === record.labels[i] ? 1 : 0), 0);
    return { minimise: "cost", right: Math.ceil(full - loss * record.n - COST_SLACK) };
  }
  const least = costs.exits[0]! / costs.full;
  if (!(goal.meanCost >= least)) {
    throw new InputError(
      caller,
      `meanCost must be a fraction of the full cost, at least that of the first exit, ${least.toFixed(4)}`,
      `${goal.meanCost}`,
    );
  }
  return { minimise: "wrong", cost: (goal.meanCost * costs.full * record.n) / unit };
}
