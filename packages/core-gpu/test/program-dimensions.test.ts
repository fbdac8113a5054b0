import fc from "fast-check";
import { expect, it } from "vitest";
import {
  addDimensions,
  broadcastShapes,
  type Dimension,
  divideDimension,
  divideShapes,
  multiplyDimensions,
} from "../src/program/dimensions.ts";
import { evaluate } from "./program-support.ts";

const sizes = { n: 6, t: 4, h: 12 };
const atom: fc.Arbitrary<Dimension> = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom("n", "t", "h"));

/** Dimensions as shape rules make them: sums, products and floors of others. */
const dimension: fc.Arbitrary<Dimension> = fc.letrec<{ dimension: Dimension }>((tie) => ({
  dimension: fc.oneof(
    { maxDepth: 3 },
    atom,
    fc.tuple(tie("dimension"), fc.integer({ min: -3, max: 3 })).map(([a, b]) => addDimensions(a, b)),
    fc.tuple(tie("dimension"), tie("dimension")).map(([a, b]) => addDimensions(a, b)),
    fc.tuple(tie("dimension"), tie("dimension")).map(([a, b]) => multiplyDimensions([a, b])),
    fc.tuple(tie("dimension"), fc.integer({ min: 1, max: 3 })).map(([a, b]) => divideDimension(a, b)),
  ),
})).dimension;

const value = (of: Dimension) => evaluate(of, sizes);

it("formulas of dimensions come to what arithmetic comes to", () => {
  fc.assert(
    fc.property(dimension, dimension, fc.integer({ min: -5, max: 5 }), (a, b, c) => {
      expect(value(addDimensions(a, b, c))).toBe(value(a) + value(b) + c);
      expect(value(multiplyDimensions([a, b, 2]))).toBe(value(a) * value(b) * 2);
      expect(value(divideDimension(a, 3))).toBe(Math.floor(value(a) / 3));
    }),
    { seed: 1, numRuns: 500 },
  );
});

it("sums and products are written the same way whatever the order", () => {
  fc.assert(
    fc.property(fc.array(dimension, { minLength: 1, maxLength: 4 }), (list) => {
      expect(addDimensions(...[...list].reverse())).toBe(addDimensions(...list));
      expect(multiplyDimensions([...list].reverse())).toBe(multiplyDimensions(list));
    }),
    { seed: 2, numRuns: 500 },
  );
});

it("adding and taking away again, multiplying and dividing again, give the dimension back", () => {
  fc.assert(
    fc.property(atom, fc.array(atom, { minLength: 1, maxLength: 3 }), fc.integer({ min: 1, max: 9 }), (a, list, c) => {
      expect(addDimensions(addDimensions(a, c), -c)).toBe(a);
      expect(divideShapes([...list, a], list)).toBe(a);
    }),
    { seed: 3, numRuns: 300 },
  );
});

it.each([
  [["n", 4, 4], [8], "2*n"],
  [["n", "t", 8], [8], "n*t"],
  [["n*t", 8], ["n", 8], "t"],
  [["n", 3], [2], null],
  [["n"], ["t"], null],
  [[0, 3], [0], null],
])("%j ÷ %j = %j", (whole, part, expected) => {
  expect(divideShapes(whole, part)).toBe(expected);
});

it.each([
  [[], [2], [2]],
  [
    ["n", 1, 3],
    [4, 1],
    ["n", 4, 3],
  ],
  [
    ["n", 3],
    ["n", 3],
    ["n", 3],
  ],
  [["n", 3], ["m", 3], null],
  [["n"], [2], null],
  [[2, 3], [2], null],
])("%j and %j broadcast to %j", (a, b, expected) => {
  expect(broadcastShapes(a, b)).toEqual(expected);
  expect(broadcastShapes(b, a)).toEqual(expected);
});
