import { type Choice, choice } from "./descent.ts";
import { better, COST_SLACK, type Goal } from "./goal.ts";
import type { Problem } from "./problem.ts";

/** The outcome of {@link prove}. */
export interface Proof {
  readonly best: Choice;
  /** True when nothing better exists. */
  readonly optimal: boolean;
  /** No choice costs less (goal "cost", the problem's unit) or answers more rightly (goal "wrong", samples) than this. */
  readonly bound: number;
}

/** One box of positions, `low[j] ≤ position ≤ high[j]`, and the samples whose exit it does not settle. */
interface Box {
  readonly low: Int32Array;
  readonly high: Int32Array;
  readonly open: Int32Array;
  readonly cost: number;
  readonly right: number;
  /** Lower bound inherited from the box it was cut from. */
  readonly bound: number;
}

/**
 * Branch and bound over boxes of positions.
 *
 * Bound of a box: the constraint is priced (Lagrange), and every sample is given its own copy of the question "do I leave
 * at exit j?", tied to the threshold's answer by multipliers (Lagrangian decomposition). What is left falls apart into one
 * choice of an exit for each sample and one sweep for each threshold, so its minimum is exact, never above the true
 * one for any multipliers; subgradient steps raise it. Positions that would alone lift the bound over the best
 * known are cut off; then the box is halved.
 *
 * @param work Sample visits after which to give up the proof.
 */
export function prove(problem: Problem, goal: Goal, start: Choice, price: number, work: number): Proof {
  const { n, m, level, right, cost } = problem;
  let best = start;
  let left = work;
  let openBound = Number.POSITIVE_INFINITY;
  let lambda = goal.minimise === "cost" ? price : 1 / price;
  const multipliers = level.map(() => new Float64Array(n));
  const sums = problem.positions.map((highest) => new Float64Array(highest + 1));
  const picks = new Int32Array(n);
  const ends = new Int32Array(n);
  const values = problem.positions.map((highest) => new Float64Array(highest + 1));
  const at = new Int32Array(m);

  const cutoff = (): number => (goal.minimise === "cost" ? best.cost - COST_SLACK : -best.right - 1 + 1e-6);

  const consider = (positions: Int32Array): void => {
    const found = choice(problem, positions);
    if (better(goal, found, best)) best = found;
  };

  /** One evaluation of the bound; fills picks, ends, values and at. */
  const evaluate = (box: Box, low: Int32Array, high: Int32Array): { bound: number; slope: number } => {
    const a = goal.minimise === "cost" ? 1 : lambda;
    const b = goal.minimise === "cost" ? lambda : 1;
    let sumCost = box.cost;
    let sumRight = box.right;
    let bound = a * box.cost - b * box.right + (goal.minimise === "cost" ? lambda * goal.right : -lambda * goal.cost);
    for (let j = 0; j < m; j++) sums[j]!.fill(0, low[j]!, high[j]! + 1);
    for (const i of box.open) {
      let end = 0;
      while (end < m && level[end]![i]! >= low[end]!) end++;
      let pick = end;
      let least = a * cost[end]! - b * right[end]![i]!;
      let later = 0;
      for (let j = end - 1; j >= 0; j--) {
        const l = level[j]![i]!;
        if (l >= high[j]!) continue;
        const mu = multipliers[j]![i]!;
        sums[j]![l]! += mu;
        const value = a * cost[j]! - b * right[j]![i]! - mu - later;
        if (mu > 0) later += mu;
        // `least` so far is of the exits after j with z_j = 0.
        if (value < least) {
          least = value;
          pick = j;
        }
      }
      bound += least;
      sumCost += cost[pick]!;
      sumRight += right[pick]![i]!;
      picks[i] = pick;
      ends[i] = end;
    }
    for (let j = 0; j < m; j++) {
      let sum = 0;
      let least = 0;
      at[j] = low[j]!;
      const row = values[j]!;
      row[low[j]!] = 0;
      for (let p = low[j]! + 1; p <= high[j]!; p++) {
        sum += sums[j]![p - 1]!;
        row[p] = sum;
        if (sum < least) {
          least = sum;
          at[j] = p;
        }
      }
      bound += least;
    }
    left -= box.open.length * m;
    return { bound, slope: goal.minimise === "cost" ? goal.right - sumRight : sumCost - goal.cost };
  };

  /** Cuts off positions that cannot be better than the best known; false when none remains. */
  const cut = (bound: number, low: Int32Array, high: Int32Array): boolean => {
    const limit = cutoff();
    if (bound >= limit) return false;
    for (let j = 0; j < m; j++) {
      const row = values[j]!;
      const spare = limit - bound + row[at[j]!]!;
      while (row[low[j]!]! >= spare) low[j]!++;
      while (row[high[j]!]! >= spare) high[j]!--;
    }
    return true;
  };

  const climb = (box: Box, bound: number, slope: number, low: Int32Array, high: Int32Array, pace: number): void => {
    let norm = (slope * slope) / n;
    for (const pass of [0, 1]) {
      const step = pass === 0 ? 0 : (pace * Math.max(cutoff() - bound, 1e-6)) / Math.max(norm, 1e-12);
      for (const i of box.open) {
        const pick = picks[i]!;
        for (let j = 0; j < ends[i]!; j++) {
          const l = level[j]![i]!;
          if (l >= high[j]! || l < low[j]!) continue;
          const mu = multipliers[j]![i]!;
          const threshold = l < at[j]! ? 1 : 0;
          const own = j < pick ? 0 : j === pick ? 1 : mu > 0 ? 1 : mu < 0 ? 0 : threshold;
          if (threshold === own) continue;
          if (pass === 0) norm += 1;
          else multipliers[j]![i] = mu + step * (threshold - own);
        }
      }
      if (pass === 1) lambda = Math.max(0, lambda + (step * slope) / n);
    }
  };

  const solve = (box: Box, rounds: number): void => {
    if (left <= 0) {
      openBound = Math.min(openBound, box.bound);
      return;
    }
    const low = box.low.slice();
    const high = box.high.slice();
    let bound = box.bound;
    let pace = 1;
    let stalled = 0;
    for (let round = 0; round < rounds; round++) {
      const here = evaluate(box, low, high);
      if (here.bound > bound + 1e-9) {
        bound = here.bound;
        stalled = 0;
      } else if (++stalled >= (rounds > 100 ? 12 : 5)) {
        pace /= 2;
        stalled = 0;
      }
      if (!cut(here.bound, low, high)) return;
      if (round % 10 === 9 || round === rounds - 1) consider(at.slice());
      if (left <= 0) break;
      climb(box, here.bound, here.slope, low, high, pace);
    }
    const inner = settle(problem, { ...box, low, high, bound });
    let combinations = 1;
    let widest = 0;
    for (let j = 0; j < m; j++) {
      combinations *= high[j]! - low[j]! + 1;
      if (high[j]! - low[j]! > high[widest]! - low[widest]!) widest = j;
    }
    if (combinations / (high[widest]! - low[widest]! + 1) <= 32) {
      enumerate(inner, widest);
      return;
    }
    if (left <= 0) {
      openBound = Math.min(openBound, bound);
      return;
    }
    const middle = (low[widest]! + high[widest]!) >> 1;
    const below = high.slice();
    below[widest] = middle;
    const above = low.slice();
    above[widest] = middle + 1;
    const halves: Box[] = [
      { ...inner, high: below },
      { ...inner, low: above },
    ];
    if (at[widest]! > middle) halves.reverse();
    const saved = level.map((_, j) => Float64Array.from(inner.open, (i) => multipliers[j]![i]!));
    const savedLambda = lambda;
    solve(settle(problem, halves[0]!), 20);
    inner.open.forEach((i, k) => {
      for (let j = 0; j < m; j++) multipliers[j]![i] = saved[j]![k]!;
    });
    lambda = savedLambda;
    solve(settle(problem, halves[1]!), 20);
  };

  /** All combinations of the other exits' positions, with one sweep over the positions of the widest. */
  const enumerate = (box: Box, swept: number): void => {
    const { low, high, open } = box;
    const positions = low.slice();
    const width = high[swept]! - low[swept]!;
    const costStep = new Float64Array(width);
    const rightStep = new Int32Array(width);
    for (;;) {
      costStep.fill(0);
      rightStep.fill(0);
      let sumCost = box.cost;
      let sumRight = box.right;
      for (const i of open) {
        let j = 0;
        while (j < m && j !== swept && level[j]![i]! >= positions[j]!) j++;
        if (j === swept) {
          const l = level[j]![i]!;
          let after = j + 1;
          while (after < m && level[after]![i]! >= positions[after]!) after++;
          if (l < low[j]!) after = j;
          else if (l < high[j]!) {
            costStep[l - low[j]!]! += cost[j]! - cost[after]!;
            rightStep[l - low[j]!]! += right[j]![i]! - right[after]![i]!;
          }
          j = after;
        }
        sumCost += cost[j]!;
        sumRight += right[j]![i]!;
      }
      left -= open.length * m;
      for (let q = 0; ; q++) {
        if (better(goal, { cost: sumCost, right: sumRight }, best)) {
          positions[swept] = low[swept]! + q;
          consider(positions.slice());
          positions[swept] = low[swept]!;
        }
        if (q >= width) break;
        sumCost += costStep[q]!;
        sumRight += rightStep[q]!;
      }
      let j = 0;
      for (; j < m; j++) {
        if (j === swept) continue;
        if (positions[j]! < high[j]!) {
          positions[j]!++;
          break;
        }
        positions[j] = low[j]!;
      }
      if (j === m) return;
    }
  };

  seed(problem, start, multipliers, goal.minimise === "cost" ? 1 : lambda, goal.minimise === "cost" ? lambda : 1);
  const whole = Int32Array.from({ length: n }, (_, i) => i);
  solve(
    settle(problem, {
      low: new Int32Array(m),
      high: Int32Array.from(problem.positions),
      open: whole,
      cost: 0,
      right: 0,
      bound: Number.NEGATIVE_INFINITY,
    }),
    400,
  );
  const optimal = openBound === Number.POSITIVE_INFINITY;
  const reached = goal.minimise === "cost" ? best.cost : -best.right;
  const proven = optimal ? reached : Math.min(reached, openBound);
  return { best, optimal, bound: goal.minimise === "cost" ? proven : -proven };
}

/** Moves samples whose exit the box settles into its sums. */
function settle(problem: Problem, box: Box): Box {
  const { m, level, right } = problem;
  let { cost, right: answers } = box;
  const open = box.open.filter((i) => {
    for (let j = 0; j < m; j++) {
      if (level[j]![i]! < box.low[j]!) {
        cost += problem.cost[j]!;
        answers += right[j]![i]!;
        return false;
      }
      if (level[j]![i]! < box.high[j]!) return true;
    }
    cost += problem.cost[m]!;
    answers += right[m]![i]!;
    return false;
  });
  return { ...box, open, cost, right: answers };
}

/** First multipliers: what leaving rather than staying changes for a sample under the known choice. */
function seed(problem: Problem, known: Choice, multipliers: Float64Array[], a: number, b: number): void {
  const { n, m, level, right, cost } = problem;
  for (let i = 0; i < n; i++) {
    const value = (j: number): number => a * cost[j]! - b * right[j]![i]!;
    let first = 0;
    while (first < m && level[first]![i]! >= known.positions[first]!) first++;
    let staying = value(m);
    for (let j = m - 1; j >= 0; j--) {
      if (j <= first) multipliers[j]![i] = value(j) - staying;
      if (level[j]![i]! < known.positions[j]!) staying = value(j);
    }
  }
}
