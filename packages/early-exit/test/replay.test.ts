import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ALWAYS, NEVER, replay } from "../src/index.ts";
import { syntheticCosts, syntheticRecord } from "./records.ts";

const record = syntheticRecord(200, 4, 5, { grain: 20 });
const costs = syntheticCosts(4);
const threshold = fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(NEVER, ALWAYS, 0, 1));
const thresholds = fc.tuple(threshold, threshold, threshold);
const accuracyOf = (j: number) =>
  record.predictions[j]!.filter((answer, i) => answer === record.labels[i]).length / record.n;

describe("replay", () => {
  test("nothing leaves: the full network's answers and cost, exactly", () => {
    const all = replay(record, [NEVER, NEVER, NEVER], costs);
    expect(all.predictions).toEqual(record.predictions[3]);
    expect([all.accuracy, all.meanCost, all.shares]).toEqual([accuracyOf(3), costs.exits[3], [0, 0, 0, 1]]);
    expect(all.costFraction).toBeCloseTo(1.015, 12);
  });

  test("all leave at exit j: its answers and cost", () => {
    for (let j = 0; j < 3; j++) {
      const at = replay(
        record,
        [0, 1, 2].map((q) => (q < j ? NEVER : ALWAYS)),
        costs,
      );
      expect([at.accuracy, at.meanCost, at.shares[j]]).toEqual([accuracyOf(j), costs.exits[j], 1]);
    }
  });

  test("a confidence equal to its threshold stays; thresholds count as float32", () => {
    const one = {
      exits: ["a", "full"],
      n: 1,
      labels: Int32Array.of(0),
      predictions: [Int32Array.of(0), Int32Array.of(0)],
    };
    const said = (confidence: number, at: number) =>
      replay({ ...one, confidences: [Float32Array.of(confidence), Float32Array.of(1)] }, [at], {
        exits: [1, 2],
        full: 2,
      }).leftAt[0];
    expect(said(0.5, 0.5)).toBe(1);
    expect(said(0.1, 0.1)).toBe(1); // float32 0.1 > float64 0.1
    expect(said(0.5, 0.4999)).toBe(0);
  });

  test("laws: shares sum to 1, cost is their mix, every sample obeys the rule", () => {
    fc.assert(
      fc.property(thresholds, (at) => {
        const point = replay(record, at, costs);
        expect(point.shares.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
        expect(point.shares.reduce((sum, share, j) => sum + share * costs.exits[j]!, 0)).toBeCloseTo(point.meanCost, 6);
        point.leftAt.forEach((exit, i) => {
          for (let j = 0; j < exit; j++) expect(record.confidences[j]![i]!).toBeLessThanOrEqual(Math.fround(at[j]!));
          if (exit < 3) expect(record.confidences[exit]![i]!).toBeGreaterThan(Math.fround(at[exit]!));
          expect(point.predictions[i]).toBe(record.predictions[exit]![i]);
        });
      }),
      { seed: 1, numRuns: 50 },
    );
  });

  test("law: raising a threshold never makes the mean cheaper", () => {
    fc.assert(
      fc.property(thresholds, fc.nat(2), fc.double({ min: 0, max: 1, noNaN: true }), (at, j, more) => {
        const raised = at.map((value, q) => (q === j ? value + more : value));
        return replay(record, raised, costs).meanCost >= replay(record, at, costs).meanCost;
      }),
      { seed: 2 },
    );
  });

  test("bad records, costs and thresholds are refused", () => {
    const go =
      (change: object, at: number[] = [0.5, 0.5, 0.5], price = costs) =>
      () =>
        replay({ ...record, ...change }, at, price);
    const withRow = (row: Float32Array) => ({ confidences: [row, ...record.confidences.slice(1)] });
    const nan = record.confidences[0]!.slice();
    nan[7] = Number.NaN;
    expect(go(withRow(nan))).toThrow(
      'early-exit.replay: confidences of exit "exit0" must lie in [0, 1]; got NaN at sample 7',
    );
    expect(go(withRow(new Float32Array(3)))).toThrow("must be a Float32Array of 200; got a Float32Array of 3");
    expect(go(withRow(new Float64Array(200) as never))).toThrow("got a Float64Array of 200");
    expect(go({ confidences: [] })).toThrow("one row for each of the 4 exits; got 0 and 4 rows");
    expect(go({ n: 0 })).toThrow("at least one sample");
    expect(go({ labels: new Int32Array(200).fill(-2) })).toThrow(
      "labels must be class indices ≥ 0, or −1 for rejected or unknown ones; got -2 at sample 0",
    );
    expect(go({ exits: ["a", "a", "b", "c"] })).toThrow('"a" twice');
    expect(go({}, [0.5])).toThrow("4 exits need 3 thresholds, none for the last; got 1");
    expect(go({}, [0.5, Number.NaN, 0.5])).toThrow("got NaN at exit 1");
    expect(go({}, undefined, { exits: [1, 2], full: 2 })).toThrow("one entry for each of the 4 exits; got 2");
    expect(go({}, undefined, { exits: [1, 3, 2, 4], full: 4 })).toThrow("increase from exit to exit; got [1, 3, 2, 4]");
    expect(go({}, undefined, { exits: [1, 2, 3, 4], full: 0 })).toThrow("costs.full");
  });
});
