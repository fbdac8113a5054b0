import { generator } from "@exitkit/core-gpu";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ExitCosts, type ExitRecord, NEVER, replay, solveThresholds } from "../src/index.ts";
import { syntheticCosts, syntheticRecord } from "./records.ts";

/** Every combination of every threshold that parts the recorded confidences, replayed one by one. */
function* everything(record: ExitRecord, costs: ExitCosts) {
  const choices = record.confidences.slice(0, -1).map((row) => [-1, ...new Set(row)]);
  const at = choices.map(() => 0);
  for (;;) {
    yield replay(
      record,
      at.map((c, j) => choices[j]![c]!),
      costs,
    );
    let j = 0;
    while (j < at.length && ++at[j]! === choices[j]!.length) at[j++] = 0;
    if (j === at.length) return;
  }
}

function cheapest(record: ExitRecord, costs: ExitCosts, loss: number): number {
  const full = replay(record, new Array(record.exits.length - 1).fill(NEVER), costs).accuracy;
  let best = Number.POSITIVE_INFINITY;
  for (const point of everything(record, costs)) {
    if (point.accuracy >= full - loss - 1e-12) best = Math.min(best, point.meanCost);
  }
  return best;
}

function mostAccurate(record: ExitRecord, costs: ExitCosts, budget: number): number {
  let best = 0;
  for (const point of everything(record, costs)) {
    if (point.costFraction <= budget + 1e-12) best = Math.max(best, point.accuracy);
  }
  return best;
}

/** Small records with no structure at all: random answers, random confidences, ties when `grain` is small. */
function randomRecord(n: number, e: number, grain: number, seed: number): { record: ExitRecord; costs: ExitCosts } {
  const random = generator(seed);
  const fill = <T extends Float32Array | Int32Array>(row: T, value: () => number): T => row.map(value) as T;
  const rows = <T>(make: () => T): T[] => Array.from({ length: e }, make);
  let cost = 0;
  return {
    record: {
      exits: Array.from({ length: e }, (_, j) => `exit${j}`),
      n,
      confidences: rows(() =>
        fill(new Float32Array(n), () => (grain > 0 ? random.integer(grain + 1) / grain : random.uniform())),
      ),
      predictions: rows(() => fill(new Int32Array(n), () => random.integer(2))),
      labels: fill(new Int32Array(n), () => random.integer(2)),
    },
    costs: { exits: rows(() => (cost += 1 + random.integer(50))), full: cost },
  };
}

describe("solveThresholds against brute force", () => {
  const sizes: [n: number, e: number, trials: number][] = [
    [1, 2, 10],
    [9, 2, 60],
    [14, 3, 60],
    [9, 4, 60],
    [5, 5, 30],
  ];
  test.each(sizes)("n = %i, e = %i, both goals, ties and none", (n, e, trials) => {
    for (let seed = 0; seed < trials; seed++) {
      const { record, costs } = randomRecord(n, e, [0, 1, 3, 8][seed % 4]!, 1000 * n + seed);
      const random = generator(seed);
      const loss = seed % 3 === 0 ? 0 : random.uniform() * 0.4;
      const byLoss = solveThresholds(record, costs, { maxAccuracyLoss: loss });
      expect(byLoss.optimal).toBe(true);
      expect(byLoss.meanCost).toBeCloseTo(cheapest(record, costs, loss), 9);
      expect(byLoss.bound).toBeCloseTo(byLoss.meanCost, 9);
      const least = costs.exits[0]! / costs.full;
      const budget = seed % 5 === 0 ? least : least + random.uniform() * (1 - least);
      const byCost = solveThresholds(record, costs, { meanCost: budget });
      expect(byCost.optimal).toBe(true);
      expect(byCost.costFraction).toBeLessThanOrEqual(budget + 1e-12);
      expect(byCost.accuracy).toBeCloseTo(mostAccurate(record, costs, budget), 12);
      expect(replay(record, byCost.thresholds, costs)).toMatchObject({
        accuracy: byCost.accuracy,
        meanCost: byCost.meanCost,
      });
    }
  });

  test("the checker can fail: a point a little dearer than the best is told apart", () => {
    const { record, costs } = randomRecord(9, 3, 0, 5);
    const never = replay(record, [NEVER, NEVER], costs);
    expect(never.meanCost).toBeGreaterThan(cheapest(record, costs, 0));
  });

  test("fractional costs", () => {
    const { record } = randomRecord(12, 3, 4, 77);
    const costs = { exits: [0.1, 0.37, 0.73], full: 0.7 };
    expect(solveThresholds(record, costs, { maxAccuracyLoss: 0.2 }).meanCost).toBeCloseTo(
      cheapest(record, costs, 0.2),
      9,
    );
  });
});

describe("solveThresholds", () => {
  test("is proven on 1,000 samples and 5 exits, and says so when it was not", () => {
    const record = syntheticRecord(1000, 5, 7);
    const costs = syntheticCosts(5);
    const proven = solveThresholds(record, costs, { maxAccuracyLoss: 0.01 });
    expect(proven.optimal).toBe(true);
    const quick = solveThresholds(record, costs, { maxAccuracyLoss: 0.01 }, { effort: 0 });
    expect(quick.optimal).toBe(false);
    expect(quick.bound).toBeLessThanOrEqual(proven.meanCost);
    expect(quick.meanCost).toBeGreaterThanOrEqual(proven.meanCost);
    const brief = solveThresholds(record, costs, { maxAccuracyLoss: 0.01 }, { effort: 0.01 });
    expect(brief.bound).toBeLessThanOrEqual(proven.meanCost + 1e-6);
    expect(brief.bound).toBeGreaterThan(0.9 * proven.meanCost);
  });

  test("no thresholds drawn at random are better than a proven optimum", () => {
    const record = syntheticRecord(400, 6, 3, { grain: 40 });
    const costs = syntheticCosts(6);
    const solved = solveThresholds(record, costs, { meanCost: 0.5 });
    expect(solved.optimal).toBe(true);
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 5, maxLength: 5 }),
        (thresholds) => {
          const point = replay(record, thresholds, costs);
          return point.costFraction > 0.5 || point.accuracy <= solved.accuracy;
        },
      ),
      { seed: 1, numRuns: 500 },
    );
  });

  test("gives the same answer every time", () => {
    const record = syntheticRecord(300, 4, 11);
    const solve = () => solveThresholds(record, syntheticCosts(4), { maxAccuracyLoss: 0.02 });
    expect(solve()).toEqual(solve());
  });

  test("thresholds are float32 and lie strictly between confidences wherever float32 has room", () => {
    const record = syntheticRecord(300, 3, 2, { grain: 10 });
    const { thresholds } = solveThresholds(record, syntheticCosts(3), { maxAccuracyLoss: 0.02 });
    thresholds.forEach((threshold, j) => {
      expect(Math.fround(threshold)).toBe(threshold);
      expect(record.confidences[j]!.includes(threshold)).toBe(false);
    });
  });

  test("neighbouring float32 confidences are still parted", () => {
    const low = Math.fround(0.5);
    const high = Math.fround(low + 2 ** -24);
    const record: ExitRecord = {
      exits: ["a", "full"],
      n: 2,
      confidences: [Float32Array.of(high, low), Float32Array.of(1, 1)],
      predictions: [Int32Array.of(1, 0), Int32Array.of(1, 1)],
      labels: Int32Array.of(1, 1),
    };
    const solved = solveThresholds(record, { exits: [1, 3], full: 3 }, { maxAccuracyLoss: 0 });
    expect(high).toBeGreaterThan(low);
    expect(solved).toMatchObject({ accuracy: 1, meanCost: 2, optimal: true });
  });

  test("a record of the full network alone", () => {
    const { record } = randomRecord(4, 1, 0, 1);
    expect(solveThresholds(record, { exits: [5], full: 5 }, { maxAccuracyLoss: 0 })).toMatchObject({
      thresholds: [],
      costFraction: 1,
      optimal: true,
    });
  });

  test("bad goals and options are refused by name", () => {
    const record = syntheticRecord(10, 3, 1);
    const costs = syntheticCosts(3);
    const solve = (goal: unknown, options?: unknown) => () =>
      solveThresholds(record, costs, goal as never, options as never);
    expect(solve({ maxAccuracyLoss: -0.1 })).toThrow(
      "early-exit.solveThresholds: maxAccuracyLoss must lie in [0, 1]; got -0.1",
    );
    expect(solve({ maxAccuracyLoss: Number.NaN })).toThrow("got NaN");
    expect(solve({ meanCost: 0.01 })).toThrow("at least that of the first exit, 0.34");
    expect(solve({ meanCost: 0.5, maxAccuracyLoss: 0 })).toThrow("the goal must be");
    expect(solve({ accuracy: 0.5 })).toThrow("the goal must be");
    expect(solve({ maxAccuracyLoss: 0 }, { efort: 1 })).toThrow('unknown option "efort"');
  });
});
