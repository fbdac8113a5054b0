import { type Choice, choice, descend, movePairs } from "./descent.ts";
import { better, type Goal, keeps } from "./goal.ts";
import type { Problem } from "./problem.ts";

/** A good choice, and the price of the constraint near it (cost of a right answer). */
export interface Found {
  readonly best: Choice;
  readonly price: number;
}

/**
 * A good choice quickly: coordinate descent on cost − price · right from several fixed starts while the price is bisected
 * to where the constraint holds, then moves of two thresholds at a time. Deterministic.
 *
 * @returns null when nothing that keeps the goal was met.
 */
export function goodChoice(problem: Problem, goal: Goal): Found | null {
  const starts = fixedStarts(problem);
  let best: Choice | null = null;
  const consider = (found: Choice): void => {
    if (better(goal, found, best)) best = found;
  };
  for (const start of starts) consider(choice(problem, start));
  let low = Math.log(1e-3);
  let high = Math.log(1e3);
  let price = 1;
  let last = starts[0]!;
  for (let step = 0; step < 18; step++) {
    price = Math.exp((low + high) / 2);
    let bestHere: Choice | null = null;
    for (const start of [last, ...starts]) {
      const found = choice(problem, descend(problem, start, 1, price));
      consider(found);
      if (bestHere === null || found.cost - price * found.right < bestHere.cost - price * bestHere.right)
        bestHere = found;
    }
    last = bestHere!.positions;
    // A higher price buys more right answers at more cost.
    if (keeps(goal, bestHere!) === (goal.minimise === "cost")) high = Math.log(price);
    else low = Math.log(price);
  }
  if (best === null) return null;
  const near = movePairs(problem, best, goal, 100);
  return { best: movePairs(problem, near, goal, problem.n), price };
}

/** All stay, all leave at the first exit, and four mixtures in between. */
function fixedStarts(problem: Problem): Int32Array[] {
  const at = (fraction: (j: number) => number): Int32Array =>
    Int32Array.from(problem.positions, (highest, j) => Math.round(highest * fraction(j)));
  const last = Math.max(1, problem.m - 1);
  return [
    at(() => 0),
    at(() => 1),
    at(() => 0.1),
    at(() => 0.3),
    at((j) => (0.5 * j) / last),
    at((j) => 0.5 - (0.5 * j) / last),
  ];
}
