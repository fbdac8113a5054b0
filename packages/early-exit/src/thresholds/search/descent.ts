import { better, COST_SLACK, type Goal } from "./goal.ts";
import { type Problem, type Total, total } from "./problem.ts";

/** Positions and what they give. */
export interface Choice extends Total {
  readonly positions: Int32Array;
}

export function choice(problem: Problem, positions: Int32Array): Choice {
  return { positions, ...total(problem, positions) };
}

/**
 * Coordinate descent on `costWeight · cost − rightWeight · right`: exit after exit, one sweep over all its positions with
 * the others held, until no sweep changes anything.
 */
export function descend(problem: Problem, start: Int32Array, costWeight: number, rightWeight: number): Int32Array {
  const { n, m, level, right, cost } = problem;
  const positions = start.slice();
  const staying = Array.from({ length: m + 1 }, () => new Float64Array(n));
  const arrived = new Uint8Array(n);
  for (let round = 0, changed = true; changed && round < 50; round++) {
    changed = false;
    for (let j = m; j >= 0; j--) {
      for (let i = 0; i < n; i++) {
        const leaves = j === m || level[j]![i]! < positions[j]!;
        staying[j]![i] = leaves ? costWeight * cost[j]! - rightWeight * right[j]![i]! : staying[j + 1]![i]!;
      }
    }
    arrived.fill(1);
    for (let j = 0; j < m; j++) {
      const gain = new Float64Array(problem.positions[j]!);
      const levels = level[j]!;
      for (let i = 0; i < n; i++) {
        if (arrived[i] === 1 && levels[i]! >= 0) {
          gain[levels[i]!]! += costWeight * cost[j]! - rightWeight * right[j]![i]! - staying[j + 1]![i]!;
        }
      }
      let sum = 0;
      let best = 0;
      let at = 0;
      let here = 0;
      for (let p = 1; p <= gain.length; p++) {
        sum += gain[p - 1]!;
        if (sum < best - 1e-12) [best, at] = [sum, p];
        if (p === positions[j]) here = sum;
      }
      if (best < here - 1e-12) {
        positions[j] = at;
        changed = true;
      }
      for (let i = 0; i < n; i++) if (levels[i]! < positions[j]!) arrived[i] = 0;
    }
  }
  return positions;
}

/**
 * Moves two positions at a time while that is better; the given choice when nothing is. The earlier exit's position moves
 * by at most `reach` at once, the later one's freely.
 */
export function movePairs(problem: Problem, from: Choice, goal: Goal, reach: number): Choice {
  for (let at = from; ; ) {
    const next = bestPair(problem, at, goal, reach);
    if (next === at) return at;
    at = next;
  }
}

function bestPair(problem: Problem, from: Choice, goal: Goal, reach: number): Choice {
  let best: Choice | null = null;
  if (problem.m === 1) return sweepPair(problem, from.positions, 0, null, goal, from, reach) ?? from;
  for (let a = 0; a < problem.m; a++) {
    for (let b = a + 1; b < problem.m; b++) {
      best = sweepPair(problem, (best ?? from).positions, a, b, goal, best ?? from, reach) ?? best;
    }
  }
  return best ?? from;
}

/**
 * All positions of exit a with all positions of exit b > a, the others held: as a's position rises, samples leave the
 * sums by level at b, over which b's position then sweeps.
 */
function sweepPair(
  problem: Problem,
  positions: Int32Array,
  a: number,
  b: number | null,
  goal: Goal,
  incumbent: Choice,
  reach: number,
): Choice | null {
  const { n, m, level, order, right, cost } = problem;
  const size = b === null ? 0 : problem.positions[b]!;
  const costStep = new Float64Array(size); // by level at b: what leaving at b adds to what staying there gives
  const rightStep = new Int32Array(size);
  const leavesBefore = (i: number): number => {
    for (let j = 0; j < a; j++) if (level[j]![i]! < positions[j]!) return j;
    return a;
  };
  let baseCost = 0;
  let baseRight = 0;
  const pass = (i: number, sign: 1 | -1): void => {
    let j = a + 1;
    while (j < m && j !== b && level[j]![i]! >= positions[j]!) j++;
    if (j === b) {
      let q = b + 1;
      while (q < m && level[q]![i]! >= positions[q]!) q++;
      const at = level[b]![i]!;
      if (at < 0) q = b;
      baseCost += sign * cost[q]!;
      baseRight += sign * right[q]![i]!;
      if (at >= 0) {
        costStep[at]! += sign * (cost[b]! - cost[q]!);
        rightStep[at]! += sign * (right[b]![i]! - right[q]![i]!);
      }
    } else {
      baseCost += sign * cost[j]!;
      baseRight += sign * right[j]![i]!;
    }
  };
  const exits = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    const j = leavesBefore(i);
    exits[i] = j;
    if (j === a && level[a]![i]! >= 0) pass(i, 1);
    else {
      baseCost += cost[j]!;
      baseRight += right[j]![i]!;
    }
  }
  let best: Total = incumbent;
  // A quick test that all which could be better pass; the inner loop runs millions of times.
  let leastRight = goal.minimise === "cost" ? goal.right : incumbent.right;
  let mostCost = (goal.minimise === "cost" ? incumbent.cost : goal.cost) + COST_SLACK;
  let found: readonly [number, number] | null = null;
  let at = 0;
  while (at < n && level[a]![order[a]![at]!]! < 0) at++;
  const last = Math.min(problem.positions[a]!, positions[a]! + reach);
  for (let p = 0; p <= last; p++) {
    if (p > 0) {
      for (; at < n && level[a]![order[a]![at]!]! < p; at++) {
        const i = order[a]![at]!;
        if (exits[i] !== a) continue;
        pass(i, -1);
        baseCost += cost[a]!;
        baseRight += right[a]![i]!;
      }
    }
    if (p < positions[a]! - reach) continue;
    let sumCost = baseCost;
    let sumRight = baseRight;
    for (let q = 0; ; q++) {
      if (sumRight >= leastRight && sumCost <= mostCost) {
        const here = { cost: sumCost, right: sumRight };
        if (better(goal, here, best)) {
          best = here;
          found = [p, q];
          if (goal.minimise === "cost") mostCost = sumCost + COST_SLACK;
          else leastRight = sumRight;
        }
      }
      if (q >= size) break;
      sumCost += costStep[q]!;
      sumRight += rightStep[q]!;
    }
  }
  if (found === null) return null;
  const moved = positions.slice();
  moved[a] = found[0];
  if (b !== null) moved[b] = found[1];
  const result = choice(problem, moved);
  return better(goal, result, incumbent) ? result : null; // not when only rounding told them apart
}
