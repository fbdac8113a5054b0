import type { ExitCosts } from "../../costs/cost.ts";
import type { ExitRecord } from "../../records/record.ts";
import { ALWAYS, NEVER } from "../../records/replay.ts";

/**
 * The threshold problem as whole numbers. A *position* p at exit j stands for a threshold: a sample that arrives leaves
 * exactly when `level[j][i] < p`. Positions run from 0 to `positions[j]`; the highest lets all leave.
 */
export interface Problem {
  readonly n: number;
  /** Number of thresholds, e − 1. */
  readonly m: number;
  /** `[m][n]` */
  readonly level: readonly Int32Array[];
  /** `[m][n]` the samples by rising level. */
  readonly order: readonly Int32Array[];
  /** `[m]` the highest position. */
  readonly positions: readonly number[];
  /** `[m][positions + 1]` the float32 threshold of every position. */
  readonly thresholds: readonly Float32Array[];
  /** `[e][n]` 1 where the exit answers rightly. */
  readonly right: readonly Uint8Array[];
  /** `[e]` cost of leaving, in units of about a whole run: the last is in (0.5, 1]. */
  readonly cost: readonly number[];
  /** MACs in a unit of `cost`. */
  readonly unit: number;
}

/**
 * Reduces a record to the thresholds that can be best.
 *
 * At an exit, call a sample *harmed* when the exit is wrong about it and a later one right. Lowering a threshold past a
 * group of equal confidences without a harmed sample loses no right answer and only saves cost, whatever the other
 * thresholds are. So only thresholds right above a group with a harmed sample need looking at, and ALWAYS.
 */
export function thresholdProblem(record: ExitRecord, costs: ExitCosts): Problem {
  const { n, labels } = record;
  const m = record.exits.length - 1;
  const right = record.predictions.map((row) => Uint8Array.from(row, (answer, i) => (answer === labels[i] ? 1 : 0)));
  const rightLater = right[m]!.slice();
  const level: Int32Array[] = [];
  const order: Int32Array[] = [];
  const thresholds: Float32Array[] = [];
  for (let j = m - 1; j >= 0; j--) {
    const harmed = right[j]!.map((isRight, i) => (isRight === 0 ? rightLater[i]! : 0));
    const reduced = reduce(record.confidences[j]!, harmed);
    level[j] = reduced.level;
    order[j] = reduced.order;
    thresholds[j] = reduced.thresholds;
    for (let i = 0; i < n; i++) if (right[j]![i] === 1) rightLater[i] = 1;
  }
  // A power of two: dividing by it rounds nothing, so that sums of whole MACs stay exact.
  const unit = 2 ** Math.ceil(Math.log2(costs.exits[m]!));
  return {
    n,
    m,
    level,
    order,
    positions: thresholds.map((row) => row.length - 1),
    thresholds,
    right,
    cost: costs.exits.map((cost) => cost / unit),
    unit,
  };
}

function reduce(confidences: Float32Array, harmed: Uint8Array) {
  const n = confidences.length;
  const order = Int32Array.from({ length: n }, (_, i) => i).sort((a, b) => confidences[b]! - confidences[a]! || a - b);
  const level = new Int32Array(n);
  const thresholds: number[] = [];
  let above: number | null = null; // confidence of the group before, higher
  for (let from = 0; from < n; ) {
    const confidence = confidences[order[from]!]!;
    let to = from;
    let anyHarmed = false;
    for (; to < n && confidences[order[to]!] === confidence; to++) {
      if (harmed[order[to]!] === 1) anyHarmed = true;
    }
    if (anyHarmed) thresholds.push(above === null ? NEVER : between(confidence, above));
    for (let at = from; at < to; at++) level[order[at]!] = thresholds.length - 1;
    above = confidence;
    from = to;
  }
  thresholds.push(ALWAYS);
  // Levels above the first harmed group always leave: level −1 is below every position.
  return { level, order, thresholds: Float32Array.from(thresholds) };
}

/** The float32 nearest the middle of two float32 confidences that still parts them: low ≤ result < high; equal ones give themselves. */
export function between(low: number, high: number): number {
  const middle = Math.fround((low + high) / 2);
  return middle < high ? middle : low;
}

/** The thresholds of positions. */
export function thresholdsOf(problem: Problem, positions: ArrayLike<number>): number[] {
  return problem.thresholds.map((row, j) => row[positions[j]!]!);
}

/** Cost (in the problem's unit) and right answers of a choice, summed over the samples. */
export interface Total {
  readonly cost: number;
  readonly right: number;
}

/** What the samples do under positions. */
export function total(problem: Problem, positions: ArrayLike<number>): Total {
  const { n, m, level, right, cost } = problem;
  const counts = new Array<number>(m + 1).fill(0);
  let answers = 0;
  for (let i = 0; i < n; i++) {
    let j = 0;
    while (j < m && level[j]![i]! >= positions[j]!) j++;
    counts[j]!++;
    answers += right[j]![i]!;
  }
  return { cost: counts.reduce((sum, count, j) => sum + count * cost[j]!, 0), right: answers };
}
