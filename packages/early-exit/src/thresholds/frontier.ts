import { checkArguments, InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkCosts, type ExitCosts } from "../costs/cost.ts";
import { checkRecord, type ExitRecord } from "../records/record.ts";
import { type OperatingPoint, replayChecked } from "../records/replay.ts";
import { type Choice, choice, descend, movePairs } from "./search/descent.ts";
import { better, type Goal } from "./search/goal.ts";
import { thresholdProblem, thresholdsOf } from "./search/problem.ts";

/**
 * The upper-left convex hull of points (meanCost, accuracy): from the cheapest point up to the most accurate one, those
 * no mixture of two others beats. Points on a hull's edge are left out.
 *
 * @param points Any number of points; when two are equal the first is kept.
 * @throws InputError when a cost or an accuracy is not finite.
 * Source: E²CM (IJCNN 2022), thresholds per layer [S: the authors' code].
 */
export function upperHull<P extends { readonly meanCost: number; readonly accuracy: number }>(
  points: readonly P[],
): readonly P[] {
  checkArguments("early-exit.upperHull", { points: [points, "a list"] });
  const bad = points.find((point) => !(Number.isFinite(point.meanCost) && Number.isFinite(point.accuracy)));
  if (bad !== undefined) {
    throw new InputError(
      "early-exit.upperHull",
      "points must be finite",
      `cost ${bad.meanCost}, accuracy ${bad.accuracy}`,
    );
  }
  const hull: P[] = [];
  for (const point of nonDominated(points)) {
    while (hull.length >= 2 && !bends(hull.at(-2)!, hull.at(-1)!, point)) hull.pop();
    hull.push(point);
  }
  return hull;
}

/** Does a → b → c turn right, so that b lies above the line from a to c? */
function bends(a: PointLike, b: PointLike, c: PointLike): boolean {
  return (b.accuracy - a.accuracy) * (c.meanCost - b.meanCost) > (c.accuracy - b.accuracy) * (b.meanCost - a.meanCost);
}

interface PointLike {
  readonly meanCost: number;
  readonly accuracy: number;
}

/** The points that no other matches or beats in both cost and accuracy, cheapest first. */
function nonDominated<P extends PointLike>(points: readonly P[]): P[] {
  const kept: P[] = [];
  for (const point of [...points].sort((a, b) => a.meanCost - b.meanCost || b.accuracy - a.accuracy)) {
    if (kept.length === 0 || point.accuracy > kept.at(-1)!.accuracy) kept.push(point);
  }
  return kept;
}

const schema = z.strictObject({ points: z.number().int().min(2).max(1000).default(40) });

/**
 * The trade-off between cost and accuracy on a record: for evenly spaced mean costs from the first exit's to the full
 * network's, the most accurate thresholds found; points that another matches or beats in both are left out. Cheapest
 * first.
 *
 * Quick rather than proven: each point comes from coordinate descent and moves of two thresholds at a time, without
 * the proof of {@link solveThresholds}, which settles a single point. Like any thresholds chosen on a record they look
 * better there than on new samples: report them replayed on a test set.
 *
 * @param options.points Number of mean costs looked at, 2 to 1000, default 40; about so many points come back at most.
 * @throws InputError on a bad record, costs or options.
 */
export function frontier(
  record: ExitRecord,
  costs: ExitCosts,
  options?: { readonly points?: number },
): readonly OperatingPoint[] {
  const caller = "early-exit.frontier";
  checkRecord(caller, record);
  checkCosts(caller, costs, record.exits.length);
  const { points } = parseOptions(caller, schema, options);
  const problem = thresholdProblem(record, costs);
  const cheapest = choice(problem, Int32Array.from(problem.positions));
  const dearest = choice(problem, new Int32Array(problem.m));
  const known: Choice[] = [cheapest, dearest];
  for (const from of [cheapest, dearest]) {
    let at = from.positions;
    for (let step = 0; step < points; step++) {
      // Prices of a right answer from a hundredth of a whole run to a hundred runs, away from the start's own end.
      const exponent = (4 * step) / (points - 1) - 2;
      at = descend(problem, at, 1, 10 ** (from === cheapest ? exponent : -exponent));
      known.push(choice(problem, at));
    }
  }
  const found: Choice[] = [];
  const first = (costs.exits[0]! * record.n) / problem.unit;
  for (let step = 0; step < points; step++) {
    const goal: Goal = { minimise: "wrong", cost: first + ((dearest.cost - first) * step) / (points - 1) };
    let best: Choice | null = null;
    for (const candidate of known) if (better(goal, candidate, best)) best = candidate;
    if (best === null) continue;
    best = movePairs(problem, best, goal, 20);
    known.push(best);
    found.push(best);
  }
  return nonDominated(
    [cheapest, ...found].map(({ positions }) => {
      const { thresholds, accuracy, meanCost, costFraction } = replayChecked(
        record,
        thresholdsOf(problem, positions),
        costs,
      );
      return { thresholds, accuracy, meanCost, costFraction };
    }),
  );
}

/** The cheapest operating point of at least this accuracy, the first of equally cheap ones; undefined where none has it. */
export function cheapestWithin<P extends OperatingPoint>(points: readonly P[], accuracy: number): P | undefined {
  checkArguments("early-exit.cheapestWithin", { points: [points, "a list"], accuracy: [accuracy, "a number"] });
  let best: P | undefined;
  for (const point of points) {
    if (point.accuracy >= accuracy - 1e-12 && (best === undefined || point.meanCost < best.meanCost)) best = point;
  }
  return best;
}
