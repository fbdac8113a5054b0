import { readFileSync } from "node:fs";
import { compileProgram, openDevice, spec, tensor, trace } from "@exitkit/core-gpu";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Confidence, confidenceOf, confidences, predictionOf } from "../src/index.ts";

interface Case extends Record<Confidence, number[]> {
  n: number;
  k: number;
  scores: number[];
  predictions: number[];
}
const { cases } = JSON.parse(readFileSync(new URL("../fixtures/confidences.json", import.meta.url), "utf8")) as {
  cases: Case[];
};
const names: Confidence[] = ["maxProbability", "margin", "normalisedEntropy"];

describe("confidences", () => {
  test.each(names)("%s agrees with PyTorch", (name) => {
    for (const { n, k, scores, ...golden } of cases) {
      const ours = confidences(tensor("float32", [n, k], scores), name);
      golden[name].forEach((value, i) => {
        expect(Math.abs(ours[i]! - value)).toBeLessThan(1e-12);
      });
    }
  });

  test("lie in [0, 1] and do not change when all scores of a sample move together", () => {
    const score = fc.double({ min: -50, max: 50, noNaN: true });
    fc.assert(
      fc.property(fc.array(score, { minLength: 2, maxLength: 12 }), fc.integer({ min: -20, max: 20 }), (row, shift) => {
        for (const name of names) {
          const [value] = confidences(tensor("float64", [1, row.length], row), name);
          const [moved] = confidences(
            tensor(
              "float64",
              [1, row.length],
              row.map((s) => s + shift),
            ),
            name,
          );
          expect(value!).toBeGreaterThanOrEqual(-1e-12);
          expect(value!).toBeLessThanOrEqual(1 + 1e-12);
          expect(moved!).toBeCloseTo(value!, 10);
        }
      }),
      { seed: 3 },
    );
  });

  test("exact ends: equal scores, and one score far above", () => {
    const equal = tensor("float64", [1, 4], [7, 7, 7, 7]);
    const sure = tensor("float64", [1, 4], [0, 1e4, 0, 0]);
    expect(names.map((name) => confidences(equal, name)[0])).toEqual([0.25, 0, 0]);
    expect(names.map((name) => confidences(sure, name)[0])).toEqual([1, 1, 1]);
  });

  test("bad scores are refused", () => {
    const ask =
      (shape: number[], data: number[], name = "margin") =>
      () =>
        confidences(tensor("float32", shape, data), name as Confidence);
    expect(ask([2], [0, 1])).toThrow("early-exit.confidences: scores must have shape [n, k] with k ≥ 2; got [2]");
    expect(ask([1, 1], [0])).toThrow("k ≥ 2");
    expect(ask([1, 2], [0, Number.NaN])).toThrow("scores must be finite; got NaN at sample 0, class 1");
    expect(ask([1, 2], [0, 1], "entropy")).toThrow('got "entropy"');
    expect(() => confidences(tensor("int32", [1, 2], [0, 1]), "margin")).toThrow("float32 or float64");
  });
});

describe("confidenceOf and predictionOf", () => {
  test("compute on the CPU what PyTorch computes", async () => {
    const device = await openDevice("cpu");
    try {
      for (const { n, k, scores, predictions, ...golden } of cases) {
        const program = trace(
          ({ x }) => ({
            ...Object.fromEntries(names.map((name) => [name, confidenceOf(x, name)])),
            prediction: predictionOf(x),
          }),
          { x: spec("float32", ["n", k]) },
        );
        const session = await compileProgram(device, program);
        const out = await session.run({ x: tensor("float32", [n, k], scores) });
        for (const name of names) {
          golden[name].forEach((value, i) => {
            expect(Math.abs(Number(out[name]!.data[i]) - value)).toBeLessThan(2e-6);
          });
        }
        expect([...out.prediction!.data].map(Number)).toEqual(predictions);
      }
    } finally {
      await device.close();
    }
  });
});
