import { generator } from "@exitkit/core-gpu";
import { describe, expect, it } from "vitest";
import {
  calibrate,
  cheapestGuarded,
  frontier,
  guardedPoints,
  NEVER,
  replay,
  samplesNeeded,
  selectRows,
} from "../src/index.ts";
import { recorded, recordedBy } from "./recorded.ts";
import { syntheticCosts, syntheticRecord } from "./records.ts";

const { costs } = recorded;
const population = recordedBy("maxProbability");
const full = replay(population, [NEVER, NEVER, NEVER], costs).accuracy;

describe("guarded points", () => {
  it.each([0.005, 0.01, 0.02, 0.05, 0.1])("are what calibrate certifies for a loss of %s", async (maxRisk) => {
    for (const seed of [1, 2, 3]) {
      const guarded = guardedPoints(population, costs, { random: generator(seed) });
      const found = await calibrate(population, costs, { risk: "loss", maxRisk, random: generator(seed) });
      const { lossBound, ...chosen } = cheapestGuarded(guarded, maxRisk)!;
      expect(lossBound).toBeLessThanOrEqual(maxRisk);
      const { thresholds, accuracy, meanCost, costFraction } = found;
      expect(chosen).toEqual({ thresholds, accuracy, meanCost, costFraction });
      expect([guarded.samples, guarded.delta]).toEqual([found.samples, 0.1]);
    }
  });

  it("grow bolder: bounds never fall, and begin with nothing that leaves", () => {
    const { points } = guardedPoints(population, costs, { random: generator(1) });
    expect(points.length).toBeGreaterThan(10);
    expect([points[0]!.lossBound, points[0]!.thresholds]).toEqual([0, [NEVER, NEVER, NEVER]]);
    points.forEach(({ lossBound }, at) => {
      expect(lossBound).toBeGreaterThanOrEqual(points[at - 1]?.lossBound ?? 0);
    });
    const bolder = [0.01, 0.02, 0.05, 0.1].map((loss) => cheapestGuarded({ delta: 0.1, samples: 1, points }, loss)!);
    bolder.forEach(({ meanCost }, at) => {
      expect(meanCost).toBeLessThanOrEqual(bolder[at - 1]?.meanCost ?? costs.full * 2);
    });
  });

  it("law: of 200 draws of 800 samples the loss asked for is exceeded in a share δ at most; aimed at, far more often", () => {
    const runs = 200;
    const random = generator(17);
    const asked = [0.01, 0.02, 0.04];
    const exceeded = { guarded: asked.map(() => 0), aimed: asked.map(() => 0) };
    let saved = 0;
    for (let run = 0; run < runs; run++) {
      const drawn = selectRows(
        population,
        Int32Array.from({ length: 800 }, () => random.integer(population.n)),
      );
      const guarded = guardedPoints(drawn, costs, { random: generator(run) });
      const within = replay(drawn, [NEVER, NEVER, NEVER], costs).accuracy;
      const trade = run < 50 ? frontier(drawn, costs, { points: 20 }) : [];
      asked.forEach((loss, at) => {
        const lost = (thresholds: readonly number[]) => full - replay(population, thresholds, costs).accuracy;
        const chosen = cheapestGuarded(guarded, loss)!;
        if (lost(chosen.thresholds) > loss) exceeded.guarded[at]!++;
        saved += (1 - chosen.costFraction) / (runs * asked.length);
        const aimed = trade.find(({ accuracy }) => accuracy >= within - loss);
        if (aimed !== undefined && lost(aimed.thresholds) > loss) exceeded.aimed[at]!++;
      });
    }
    // Three standard deviations of a share of 0.1.
    for (const count of exceeded.guarded) expect(count / runs).toBeLessThanOrEqual(0.1 + 3 * Math.sqrt(0.09 / runs));
    for (const count of exceeded.aimed) expect(count / 50).toBeGreaterThan(0.2);
    expect(saved).toBeGreaterThan(0.05);
  }, 60_000);

  it("certify nothing on few samples, which then leave nowhere", () => {
    const record = syntheticRecord(60, 3, 1);
    const { points, samples } = guardedPoints(record, syntheticCosts(3), { random: generator(1) });
    expect(samples).toBe(42);
    expect(cheapestGuarded({ delta: 0.1, samples, points }, 0.01)!.thresholds).toEqual([NEVER, NEVER]);
    expect(samplesNeeded(0.01)).toBeGreaterThan(42);
  });

  it("need as many samples as are said, and not many more, where nothing is lost", () => {
    for (const loss of [0.01, 0.05]) {
      const n = samplesNeeded(loss);
      const certified = (tests: number) => {
        const same = { ...syntheticRecord(tests + 20, 2, 1) };
        const record = { ...same, predictions: [same.labels, same.labels] };
        const pathUnits = Int32Array.from({ length: 20 }, (_, i) => i);
        const guarded = guardedPoints(record, syntheticCosts(2), { random: generator(1), pathUnits });
        expect(guarded.samples).toBe(tests);
        return guarded.points.some(({ lossBound }) => lossBound > 0 && lossBound <= loss);
      };
      expect(certified(n - 1)).toBe(false);
      expect(certified(Math.ceil(1.2 * n))).toBe(true);
    }
  });

  it("are found on the units named, and on no others", () => {
    const pathUnits = Int32Array.from({ length: 500 }, (_, i) => 2 * i);
    const guarded = guardedPoints(population, costs, { random: generator(1), pathUnits });
    expect(guarded.samples).toBe(population.n - 500);
    // Labels and answers of units that only test do not move the path.
    const tests = Int32Array.from({ length: population.n }, (_, i) => i).filter((i) => i % 2 === 1 || i >= 1000);
    const labels = population.labels.slice();
    for (const i of tests) labels[i] = (labels[i]! + 1) % 10;
    const other = guardedPoints({ ...population, labels }, costs, { random: generator(1), pathUnits });
    const shared = Math.min(guarded.points.length, other.points.length);
    expect(shared).toBeGreaterThan(2);
    for (let at = 0; at < shared; at++) {
      expect(other.points[at]!.thresholds).toEqual(guarded.points[at]!.thresholds);
    }
  });

  it("against another network test the last exit too", () => {
    const reference = population.labels;
    const guarded = guardedPoints(population, costs, { random: generator(1), reference });
    expect(guarded.points[0]!.lossBound).toBeGreaterThan(0);
    expect(cheapestGuarded(guarded, 0)).toBeUndefined();
    expect(cheapestGuarded(guarded, guarded.points[0]!.lossBound)).toBeDefined();
  });

  it("refuse what does not fit", () => {
    expect(() => guardedPoints(population, costs, { random: generator(1), delta: 0 })).toThrow(/option "delta"/);
    const pathUnits = Int32Array.from({ length: population.n }, (_, i) => i);
    expect(() => guardedPoints(population, costs, { random: generator(1), pathUnits })).toThrow(
      "both to find a path and to test it; got 2500 and 0 of 2500",
    );
    expect(() => cheapestGuarded([] as never, 0.1)).toThrow("early-exit.cheapestGuarded: what guardedPoints gave");
    expect(() => cheapestGuarded({ delta: 0.1, samples: 1, points: [] }, 2)).toThrow("must lie in [0, 1]; got 2");
    expect(() => samplesNeeded(0)).toThrow("must lie in (0, 1); got 0 and 0.1");
  });
});
