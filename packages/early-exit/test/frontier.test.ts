import { generator } from "@exitkit/core-gpu";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { frontier, replay, searchThresholds, solveThresholds, upperHull } from "../src/index.ts";
import { syntheticCosts, syntheticRecord } from "./records.ts";

const record = syntheticRecord(400, 5, 9);
const costs = syntheticCosts(5);

describe("upperHull", () => {
  const point = fc.record({ meanCost: fc.integer({ min: 0, max: 20 }), accuracy: fc.integer({ min: 0, max: 20 }) });

  test("no point lies above it, every vertex is needed", () => {
    fc.assert(
      fc.property(fc.array(point, { minLength: 1, maxLength: 25 }), (points) => {
        const hull = upperHull(points);
        const height = (cost: number): number => {
          let best = Number.NEGATIVE_INFINITY;
          for (const a of hull) {
            if (a.meanCost <= cost) best = Math.max(best, a.accuracy);
            for (const b of hull) {
              if (a.meanCost < cost && cost < b.meanCost) {
                const t = (cost - a.meanCost) / (b.meanCost - a.meanCost);
                best = Math.max(best, a.accuracy + t * (b.accuracy - a.accuracy));
              }
            }
          }
          return best;
        };
        for (const { meanCost, accuracy } of points) expect(accuracy).toBeLessThanOrEqual(height(meanCost) + 1e-9);
        hull.forEach((vertex, at) => {
          if (at > 0) expect(vertex.accuracy).toBeGreaterThan(hull[at - 1]!.accuracy);
          if (at > 0 && at < hull.length - 1) {
            const [a, b] = [hull[at - 1]!, hull[at + 1]!];
            const t = (vertex.meanCost - a.meanCost) / (b.meanCost - a.meanCost);
            expect(vertex.accuracy).toBeGreaterThan(a.accuracy + t * (b.accuracy - a.accuracy));
          }
        });
      }),
      { seed: 1, numRuns: 200 },
    );
  });

  test("refuses what is not finite", () => {
    expect(() => upperHull([{ meanCost: Number.NaN, accuracy: 0 }])).toThrow(
      "early-exit.upperHull: points must be finite",
    );
  });
});

describe("frontier", () => {
  test("rises, replays to what it says, and comes close to the proven optima", () => {
    const points = frontier(record, costs);
    expect(points.length).toBeGreaterThan(20);
    points.forEach((point, at) => {
      expect(replay(record, point.thresholds, costs)).toMatchObject({
        accuracy: point.accuracy,
        meanCost: point.meanCost,
      });
      if (at > 0) {
        expect(point.meanCost).toBeGreaterThan(points[at - 1]!.meanCost);
        expect(point.accuracy).toBeGreaterThan(points[at - 1]!.accuracy);
      }
    });
    expect(points[0]!.meanCost).toBe(costs.exits[0]);
    for (const budget of [0.4, 0.6, 0.8]) {
      const proven = solveThresholds(record, costs, { meanCost: budget });
      const ours = Math.max(...points.filter((p) => p.costFraction <= budget + 0.02).map((p) => p.accuracy));
      expect(ours).toBeGreaterThan(proven.accuracy - 0.01);
    }
  });

  test("refuses bad options", () => {
    expect(() => frontier(record, costs, { points: 1 })).toThrow('option "points"');
  });
});

describe("searchThresholds", () => {
  test("is a hull of replays, the same for the same seed, never above the proven optimum", () => {
    const search = (seed: number) => searchThresholds(record, costs, { draws: 300, random: generator(seed) });
    const hull = search(4);
    expect(search(4)).toEqual(hull);
    expect(upperHull(hull)).toEqual(hull);
    for (const point of hull) {
      expect(replay(record, point.thresholds, costs)).toMatchObject({
        accuracy: point.accuracy,
        meanCost: point.meanCost,
      });
    }
    const middle = hull[Math.floor(hull.length / 2)]!;
    const proven = solveThresholds(record, costs, { meanCost: middle.costFraction });
    expect(proven.optimal).toBe(true);
    expect(proven.accuracy).toBeGreaterThanOrEqual(middle.accuracy);
  });

  test("needs a generator", () => {
    expect(() => searchThresholds(record, costs, {} as never)).toThrow('option "random" must be a generator');
    expect(() => searchThresholds(record, costs, { draws: 0, random: generator(1) })).toThrow('option "draws"');
  });
});
