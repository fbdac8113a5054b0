import type { Total } from "./problem.ts";

/** What is minimised subject to what, in the units of `Total`. */
export type Goal =
  | { readonly minimise: "cost"; readonly right: number /* at least so many right answers */ }
  | { readonly minimise: "wrong"; readonly cost: number /* at most so much */ };

/** Sums of costs that are whole MACs are exact; others agree to within this when they are equal. */
export const COST_SLACK = 1e-9;

/** Does a total keep the goal's constraint? */
export function keeps(goal: Goal, total: Total): boolean {
  return goal.minimise === "cost" ? total.right >= goal.right : total.cost <= goal.cost + COST_SLACK;
}

/** Is `a` better than `b` (null: nothing yet)? Among equals in the first respect the other one decides. */
export function better(goal: Goal, a: Total, b: Total | null): boolean {
  if (!keeps(goal, a)) return false;
  if (b === null) return true;
  const cheaper = a.cost < b.cost - COST_SLACK;
  const dearer = a.cost > b.cost + COST_SLACK;
  return goal.minimise === "cost"
    ? cheaper || (!dearer && a.right > b.right)
    : a.right > b.right || (a.right === b.right && cheaper);
}
