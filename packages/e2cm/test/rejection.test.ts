import { generator } from "@exitkit/core-gpu";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { halvesOf, rejectionThresholds } from "../src/decisions/rejection.ts";

/** Novelty of n samples at e exits that know of each other, of unlike scales, with long tails. */
function novelty(n: number, e: number, random: ReturnType<typeof generator>): Float32Array[] {
  const rows = Array.from({ length: e }, () => new Float32Array(n));
  for (let i = 0; i < n; i++) {
    const own = random.normal();
    for (let j = 0; j < e; j++) rows[j]![i] = Math.exp(own + 0.5 * random.normal()) * 10 ** j;
  }
  return rows;
}

const rejects = (rows: readonly Float32Array[], thresholds: readonly number[], i: number) =>
  rows.some((row, j) => row[i]! > thresholds[j]!);

describe("rejectionThresholds", () => {
  it.each([
    [40, 0.9],
    [201, 0.95],
    [60, 0.5],
  ])("reject at most 1 − q of new known samples, over 2,000 calibrations with %d samples at q = %d", (n, quantile) => {
    const random = generator(9);
    const fresh = 50;
    let rejected = 0;
    for (let round = 0; round < 2000; round++) {
      const rows = novelty(n + fresh, 3, random);
      const thresholds = rejectionThresholds(
        "test",
        rows.map((row) => row.subarray(0, n)),
        quantile,
      );
      for (let i = n; i < n + fresh; i++) if (rejects(rows, thresholds, i)) rejected += 1;
    }
    const rate = rejected / (2000 * fresh);
    // Three standard errors of a mean over 2,000 calibrations, whose own rates spread like a Beta distribution.
    const half = Math.floor(n / 2);
    const slack = 3 * Math.sqrt((quantile * (1 - quantile) * (1 / (half + 2) + 1 / fresh)) / 2000);
    expect(rate).toBeLessThan(1 - quantile + slack);
    // And not many fewer: the level is the tightest that the ranks allow.
    expect(rate).toBeGreaterThan(1 - quantile - 2 / (half + 1) - slack);
  });

  it.each([2, 4, 10])(
    "reject at most 1 − q where %d classes come in turn and one is ten times as novel as the others",
    (classes) => {
      const random = generator(5);
      const draw = (label: number) => (label === 0 ? 10 : 1) * Math.exp(0.3 * random.normal());
      const [n, fresh, rounds, quantile] = [400, 100, 300, 0.95];
      let rejected = 0;
      for (let round = 0; round < rounds; round++) {
        const row = Float32Array.from({ length: n + fresh }, (_, i) => draw(i % classes));
        const thresholds = rejectionThresholds("test", [row.subarray(0, n)], quantile);
        for (let i = n; i < n + fresh; i++) if (rejects([row], thresholds, i)) rejected += 1;
      }
      const rate = rejected / (rounds * fresh);
      const slack = 3 * Math.sqrt((quantile * (1 - quantile) * (1 / (n / 2 + 2) + 1 / fresh)) / rounds);
      expect(rate).toBeLessThan(1 - quantile + slack);
      expect(rate).toBeGreaterThan(1 - quantile - 2 / (n / 2 + 1) - slack);
    },
  );

  it("halves are disjoint, cover all, and have samples of every class whatever their order", () => {
    for (const n of [1, 2, 51, 400]) {
      const { scaling, testing } = halvesOf(n);
      expect([scaling.length, testing.length]).toEqual([Math.ceil(n / 2), Math.floor(n / 2)]);
      expect([...scaling, ...testing].sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i));
    }
    const { scaling, testing } = halvesOf(400);
    for (const classOf of [(i: number) => i % 10, (i: number) => Math.floor(i / 40)]) {
      expect([scaling, testing].map((half) => new Set(Array.from(half, classOf)).size)).toEqual([10, 10]);
    }
  });

  it("a larger quantile never rejects more, at any exit", () => {
    const q = fc.double({ min: 0.05, max: 0.95, noNaN: true });
    fc.assert(
      fc.property(
        fc.integer({ min: 80, max: 200 }),
        fc.integer({ min: 1, max: 5 }),
        q,
        q,
        fc.nat(),
        (n, e, a, b, seed) => {
          const rows = novelty(n, e, generator(seed));
          const [low, high] = [Math.min(a, b), Math.max(a, b)].map((own) => rejectionThresholds("test", rows, own));
          low!.forEach((threshold, j) => {
            expect(high![j]).toBeGreaterThanOrEqual(threshold);
          });
        },
      ),
      { seed: 2 },
    );
  });

  it("exactly: one exit, q = 0.9, the ninth of nine", () => {
    // The scaling half's 0.95-quantile is 1. The others are 1 … 9.
    const row = new Float32Array(18).fill(1);
    halvesOf(18).testing.forEach((i, at) => {
      row[i] = at + 1;
    });
    expect(rejectionThresholds("test", [row], 0.9)[0]).toBeCloseTo(9.009, 12);
    expect(rejectionThresholds("test", [row], 0.5)).toEqual([5.5]);
  });

  it("exits that see no novelty at all reject nothing", () => {
    const silent = new Float32Array(100);
    const [first, second] = rejectionThresholds("test", [silent, novelty(100, 1, generator(1))[0]!], 0.9);
    expect(first).toBeGreaterThanOrEqual(0);
    expect(second).toBeGreaterThan(0);
  });

  it("refuses too few samples, and says how many it takes", () => {
    const rows = novelty(500, 2, generator(1));
    for (const quantile of [0.5, 0.9, 0.95, 0.99]) {
      const needed = 2 * Math.ceil(quantile / (1 - quantile) - 1e-9);
      const of = (n: number) =>
        rejectionThresholds(
          "test",
          rows.map((row) => row.subarray(0, n)),
          quantile,
        );
      expect(of(needed)).toHaveLength(2);
      expect(() => of(needed - 1)).toThrow(
        new RegExp(`needs at least ${needed} calibration samples; got ${needed - 1}\\. Pass more`),
      );
    }
  });
});
