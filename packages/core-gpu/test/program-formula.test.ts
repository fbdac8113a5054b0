import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileProgram, gradients, openDevice, ops, spec, tensor, trace } from "../src/index.ts";
import { addDimensions, type Dimension, divideDimension, multiplyDimensions } from "../src/program/dimensions.ts";
import { evaluateFormula, type FormulaArithmetic } from "../src/program/formula.ts";

const numbers = (sizes: Readonly<Record<string, number>>): FormulaArithmetic<number> => ({
  symbol: (name) => sizes[name]!,
  number: (value) => value,
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b, rounding) => Math[rounding](a / b),
});

/** A dimension beside what it comes to for n = 5 and t = 7. */
interface Known {
  readonly dimension: Dimension;
  readonly size: number;
}

const { formula } = fc.letrec<{ formula: Known }>((tie) => ({
  formula: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom<Known>({ dimension: "n", size: 5 }, { dimension: "t", size: 7 }, { dimension: 3, size: 3 }),
    fc.tuple(tie("formula"), tie("formula")).map(([a, b]) => ({
      dimension: addDimensions(a.dimension, b.dimension),
      size: a.size + b.size,
    })),
    fc.tuple(tie("formula"), tie("formula")).map(([a, b]) => ({
      dimension: multiplyDimensions([a.dimension, b.dimension]),
      size: a.size * b.size,
    })),
    fc.tuple(tie("formula"), fc.integer({ min: 1, max: 4 }), fc.constantFrom("floor", "ceil")).map(
      ([a, divisor, rounding]): Known => ({
        dimension: divideDimension(a.dimension, divisor, rounding),
        size: Math[rounding](a.size / divisor),
      }),
    ),
  ),
}));

describe("evaluateFormula", () => {
  it("gives what the operations that wrote the formula give", () => {
    fc.assert(
      fc.property(formula, ({ dimension, size }) => {
        expect(evaluateFormula(String(dimension), numbers({ n: 5, t: 7 }))).toBe(size);
      }),
      { numRuns: 500 },
    );
  });

  it.each([["(n+1"], ["floor(n)"], ["n n"], ["+"], [""]])("refuses %j", (text) => {
    expect(() => evaluateFormula(text, numbers({ n: 5 }))).toThrow(/the dimension/);
  });
});

it("sizes that stand in no tensor of the graph are worked out in it", async () => {
  const program = trace(
    ({ x }) => {
      const image = ops.maxPool(
        ops.pad(ops.concat([x, x], 2), [
          [0, 0],
          [0, 0],
          [0, 1],
          [0, 0],
        ]),
        { kernel: 2, stride: 2 },
      );
      // Only the shape of the image is left of it.
      const ones = ops.expand(tensor("float32", [], [1]), image.shape);
      return { total: ops.sum(ones) };
    },
    { x: spec("float32", ["n", 1, "h", 6]) },
  );
  expect(program.nodes.map(({ operator }) => operator.name)).toEqual(["expand", "sum"]);
  const device = await openDevice("cpu");
  for (const height of [3, 4]) {
    const session = await compileProgram(device, program);
    const { total } = await session.run({ x: tensor("float32", [2, 1, height, 6]) });
    expect(total!.data[0]).toBe(2 * Math.floor((2 * height + 1 - 2) / 2 + 1) * 3);
    await session.release();
  }
  await device.close();
});

it("the gradient of a sum needs nothing of what was summed but its shape", async () => {
  const program = trace(({ x }) => ({ gradient: gradients(ops.sum(ops.concat([x, x], 0)), x) }), {
    x: spec("float32", ["n", 2]),
  });
  expect(program.nodes.map(({ operator }) => operator.name)).not.toContain("concat");
  const device = await openDevice("cpu");
  const session = await compileProgram(device, program);
  const { gradient } = await session.run({ x: tensor("float32", [3, 2]) });
  expect(gradient).toEqual(tensor("float32", [3, 2], [2, 2, 2, 2, 2, 2]));
  await session.release();
  await device.close();
});
