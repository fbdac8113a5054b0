import { generator } from "@exitkit/core-gpu";
import { describe, expect, test } from "vitest";
import {
  ALWAYS,
  agreementFrontier,
  agreementOf,
  type ExitRecord,
  fitAgreement,
  NEVER,
  replay,
  solveThresholds,
} from "../src/index.ts";
import { syntheticCosts, syntheticRecord } from "./records.ts";

/** One early exit whose chance of agreeing is known: 1 / (1 + exp(−(slope·logit c + offset))). */
function knownRecord(n: number, slope: number, offset: number, seed: number): ExitRecord {
  const random = generator(seed);
  const confidence = new Float32Array(n);
  const early = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    const x = 1.5 * random.normal();
    confidence[i] = 1 / (1 + Math.exp(-x));
    early[i] = random.uniform() < 1 / (1 + Math.exp(-(slope * x + offset))) ? 1 : 0;
  }
  const ones = new Int32Array(n).fill(1);
  return {
    exits: ["early", "full"],
    n,
    confidences: [confidence, new Float32Array(n)],
    predictions: [early, ones],
    labels: ones,
  };
}

describe("fitAgreement", () => {
  test.each([
    [1.2, 0.3],
    [0.5, -1],
    [2, 1],
  ])("finds the slope %d and offset %d that the samples were drawn with", (slope, offset) => {
    const { slopes, offsets } = fitAgreement(knownRecord(40_000, slope, offset, 5));
    // Three standard errors of a logistic fit on 40,000 samples are below 0.08 here.
    expect(slopes[0]).toBeCloseTo(slope, 1);
    expect(offsets[0]).toBeCloseTo(offset, 1);
  });

  test("solves the likelihood equations: mean probability is the share that agrees, with and without weight by logit", () => {
    const record = syntheticRecord(3000, 4, 11);
    const agreement = fitAgreement(record);
    for (let j = 0; j < 3; j++) {
      const agrees = record.predictions[j]!.map((answer, i) => (answer === record.predictions[3]![i] ? 1 : 0));
      const gap = agreementOf(agreement, j, record.confidences[j]!).map((p, i) => p - agrees[i]!);
      const x = Float64Array.from(record.confidences[j]!, (c) => Math.log(c + 1e-12) - Math.log(1 - c + 1e-7));
      expect(Math.abs(gap.reduce((sum, value) => sum + value, 0)) / record.n).toBeLessThan(1e-4);
      expect(Math.abs(gap.reduce((sum, value, i) => sum + value * x[i]!, 0)) / record.n).toBeLessThan(1e-4);
    }
  });

  test("an exit that is surer where it disagrees agrees with one probability: all of it leave, or none", () => {
    const record = knownRecord(2000, -1, 0, 3);
    const agreement = fitAgreement(record);
    expect(agreement.slopes).toEqual([0]);
    const agreeing = record.predictions[0]!.reduce((sum, answer) => sum + answer, 0) / 2000;
    const probabilities = agreementOf(agreement, 0, record.confidences[0]!);
    expect(new Set(probabilities).size).toBe(1);
    expect(probabilities[0]).toBeCloseTo(agreeing, 4);
    const points = agreementFrontier(record, { exits: [10, 30], full: 30 }, agreement);
    expect(points.map(({ thresholds, accuracy }) => [...thresholds, accuracy])).toEqual([
      [ALWAYS, agreeing],
      [NEVER, 1],
    ]);
  });

  test.each([
    ["whose confidence never changes", 1, 0.5, Number.NaN],
    ["that always agrees, with a constant confidence", 0, 0.5, 1],
    ["that always agrees, with any confidence", 0, Number.NaN, 1],
  ])("an exit %s is used", (_, offset, constant, always) => {
    const drawn = knownRecord(500, 0, offset, 4);
    const ones = new Int32Array(500).fill(1);
    const record = {
      ...drawn,
      confidences: [
        Number.isNaN(constant) ? drawn.confidences[0]! : new Float32Array(500).fill(constant),
        drawn.confidences[1]!,
      ],
      predictions: [Number.isNaN(always) ? drawn.predictions[0]! : ones, ones],
    };
    const points = agreementFrontier(record, { exits: [10, 30], full: 30 }, fitAgreement(record));
    expect(points[0]).toMatchObject({ thresholds: [ALWAYS], meanCost: 10 });
    expect(points.length).toBe(always === 1 ? 1 : 2);
  });

  test("with a slope below 0 is refused", () => {
    const record = knownRecord(50, 1, 0, 3);
    expect(() => agreementFrontier(record, { exits: [10, 30], full: 30 }, { slopes: [-1], offsets: [0] })).toThrow(
      "early-exit.agreementFrontier: an agreement with slopes of at least 0; got -1 at exit 0. Use fitAgreement.",
    );
  });
});

describe("agreementFrontier", () => {
  test.each([0, 40])(
    "is what brute force over every common probability finds (confidences in %d levels, 0: continuous)",
    (grain) => {
      const record = syntheticRecord(250, 4, 21, { grain });
      const costs = syntheticCosts(4);
      const agreement = fitAgreement(record);
      const probabilities = [0, 1, 2].map((j) => agreementOf(agreement, j, record.confidences[j]!));
      const levels = [...new Set(probabilities.flatMap((row) => [...row])), 2];
      const all = levels.map((tau) => {
        let right = 0;
        let cost = 0;
        for (let i = 0; i < record.n; i++) {
          const first = probabilities.findIndex((row) => row[i]! >= tau);
          const exit = first < 0 ? 3 : first;
          right += record.predictions[exit]![i] === record.labels[i] ? 1 : 0;
          cost += costs.exits[exit]!;
        }
        return { accuracy: right / record.n, meanCost: cost / record.n };
      });
      const best = all
        .filter((one) => !all.some((other) => other.accuracy >= one.accuracy && other.meanCost < one.meanCost - 1e-9))
        .filter((one) => !all.some((other) => other.accuracy > one.accuracy && other.meanCost <= one.meanCost + 1e-9));
      const expected = [...new Map(best.map((one) => [one.accuracy, one])).values()].sort(
        (a, b) => a.meanCost - b.meanCost,
      );
      const points = agreementFrontier(record, costs, agreement, { resolution: 0 });
      const coarse = agreementFrontier(record, costs, agreement, { resolution: 0.2 });
      expect(points).toEqual(expect.arrayContaining([...coarse]));
      expect(coarse.length).toBeLessThan(points.length);
      expect(points.length).toBe(expected.length);
      points.forEach((point, index) => {
        expect(point.accuracy).toBeCloseTo(expected[index]!.accuracy, 12);
        expect(point.meanCost).toBeCloseTo(expected[index]!.meanCost, 3);
        expect(replay(record, point.thresholds, costs)).toMatchObject({
          accuracy: point.accuracy,
          meanCost: point.meanCost,
        });
      });
    },
  );

  test("never beats free thresholds on the record itself, and loses less of what was asked on new samples", () => {
    const costs = syntheticCosts(5);
    let [free, common] = [0, 0];
    for (let seed = 1; seed <= 6; seed++) {
      const [calibration, fresh] = [syntheticRecord(400, 5, seed), syntheticRecord(4000, 5, 100 + seed)];
      const accuracy = (record: ExitRecord, thresholds: readonly number[]) =>
        replay(record, thresholds, costs).accuracy;
      const points = agreementFrontier(calibration, costs, fitAgreement(calibration));
      const full = accuracy(calibration, [NEVER, NEVER, NEVER, NEVER]);
      const point = points.find((one) => one.accuracy >= full - 0.01)!;
      const solved = solveThresholds(calibration, costs, { maxAccuracyLoss: full - point.accuracy });
      expect(solved.meanCost).toBeLessThanOrEqual(point.meanCost + 1e-6);
      free += solved.accuracy - accuracy(fresh, solved.thresholds);
      common += point.accuracy - accuracy(fresh, point.thresholds);
    }
    expect(common).toBeLessThan(free);
  });

  test("refuses an agreement or costs that do not fit the record", () => {
    const record = syntheticRecord(60, 3, 2);
    expect(() => agreementFrontier(record, syntheticCosts(4), fitAgreement(record))).toThrow(
      "one entry for each of the 3 exits",
    );
    expect(() => agreementOf(fitAgreement(record), 2, record.confidences[2]!)).toThrow(
      "an early exit from 0 to 1; got 2",
    );
    expect(() => agreementFrontier(record, syntheticCosts(3), { slopes: [1], offsets: [0] })).toThrow("agreement");
  });
});
