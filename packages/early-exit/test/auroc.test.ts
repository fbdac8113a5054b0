import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { auroc } from "../src/index.ts";

const { cases } = JSON.parse(readFileSync(new URL("../fixtures/auroc.json", import.meta.url), "utf8")) as {
  cases: readonly { readonly known: number[]; readonly unknown: number[]; readonly auroc: number }[];
};

describe("auroc", () => {
  test("agrees with scikit-learn, ties too", () => {
    for (const { known, unknown, auroc: golden } of cases) expect(auroc(known, unknown)).toBeCloseTo(golden, 12);
  });

  test("is the fraction of pairs in the right order, a tie one half", () => {
    const scores = fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(scores, scores, (known, unknown) => {
        let pairs = 0;
        for (const u of unknown) for (const k of known) pairs += u > k ? 1 : u === k ? 0.5 : 0;
        expect(auroc(known, unknown)).toBeCloseTo(pairs / (known.length * unknown.length), 12);
        expect(auroc(known, unknown) + auroc(unknown, known)).toBeCloseTo(1, 12);
      }),
      { seed: 1 },
    );
  });

  test("exact ends, and infinite scores", () => {
    expect(auroc([1, 2], [3, 4])).toBe(1);
    expect(auroc(Float32Array.of(3, 4), Float32Array.of(1))).toBe(0);
    expect(auroc([0, 0, 0], [0])).toBe(0.5);
    expect(auroc([0, -Infinity], [Infinity])).toBe(1);
  });

  test("refuses no scores and NaN", () => {
    expect(() => auroc([], [1])).toThrow(/^early-exit\.auroc: at least one score of the known; got none/);
    expect(() => auroc([1], [2, Number.NaN])).toThrow(/scores of the unknown must be numbers; got NaN at 1/);
    expect(() => auroc([1], undefined as never)).toThrow(/at least one score of the unknown/);
  });
});
