import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  compileProgram,
  type Device,
  type DType,
  InputError,
  openDevice,
  type Program,
  programToModel,
  type Tensor,
} from "../src/index.ts";
import { operators } from "../src/program/ops/operators.ts";
import { families, gradientProgram } from "./gradients-support.ts";
import { type Case, evaluate, feedsOf, fixture, numbersOf, programOf, sizesOf } from "./program-support.ts";

// Each operator set in which some operator's form differs from the one before, and the ends of what is accepted.
const opsets = [11, 12, 13, 14, 17, 18, 20, 23];

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

async function run(program: Program<unknown, unknown>, feeds: Record<string, Tensor>, opset: number) {
  const session = await compileProgram(device, program, { opset, load: { optimization: "none" } });
  try {
    return await session.run(feeds);
  } finally {
    await session.release();
  }
}

function expectGolden(
  cases: readonly Case[],
  results: Record<string, Tensor>,
  dtype: DType = "float32",
  only?: string,
): void {
  cases.forEach(({ op, outputs }, number) => {
    if (only !== undefined && op !== only) return;
    outputs.forEach((golden, index) => {
      const result = results[`outputs.${number}.${index}`]!;
      expect(result.shape).toEqual(golden.shape);
      expect(result.dtype).toBe(golden.dtype === "float32" ? dtype : golden.dtype);
      const wanted = numbersOf(golden);
      Array.from(result.data, Number).forEach((value, at) => {
        if (close(value, wanted[at]!, golden.dtype === "float32" ? dtype : golden.dtype)) return;
        expect.fail(`${op}, case ${number}: element ${at} is ${value}, PyTorch has ${wanted[at]}`);
      });
    });
  });
}

function close(value: number, wanted: number, dtype: DType): boolean {
  if (!dtype.startsWith("float") || !Number.isFinite(wanted)) return Object.is(value, wanted);
  return Math.abs(value - wanted) <= (dtype === "float64" ? 1e-8 : 2e-6) * Math.max(1, Math.abs(wanted));
}

function expectShapes(cases: readonly Case[], program: Program<unknown, unknown>): void {
  const sizes = sizesOf(cases);
  const predicted = program.outputs.map(({ spec }) => spec.shape.map((dimension) => evaluate(dimension, sizes)));
  expect(predicted).toEqual(cases.flatMap(({ outputs }) => outputs.map(({ shape }) => shape)));
}

// One session for all cases: opening one takes longer than running it.
describe.each(opsets)("opset %i against PyTorch", (opset) => {
  let results: Record<string, Tensor>;
  beforeAll(async () => {
    results = await run(programOf(fixture.cases), feedsOf(fixture.cases), opset);
  });

  it.each([...new Set(fixture.cases.map(({ op }) => op))])("ops.%s", (name) => {
    expectGolden(fixture.cases, results, "float32", name);
  });
});

it("results have the shapes that were predicted", () => {
  expectShapes(fixture.cases, programOf(fixture.cases));
});

it("symbolic dimensions: the same results, and the predicted shapes come true", async () => {
  const cases = fixture.cases.filter(({ symbols }) => symbols !== undefined);
  const program = programOf(cases, { symbolic: true });
  expectShapes(cases, program);
  for (const opset of [11, 17]) expectGolden(cases, await run(program, feedsOf(cases), opset));
});

it("float64: what the shape rules accept also runs, and precisely", async () => {
  const options = { dtype: "float64" } as const;
  const cases = fixture.cases.filter((test) => {
    if (test.tensors.every(({ dtype }) => dtype !== "float32") || test.args.includes("float32")) return false;
    try {
      programOf([test], options);
      return true;
    } catch (error) {
      expect(error).toBeInstanceOf(InputError);
      expect(String(error)).toMatch(/dtype must be float32/);
      return false;
    }
  });
  expect(cases.length).toBeGreaterThan(100);
  for (const opset of [11, 17, 23]) {
    expectGolden(cases, await run(programOf(cases, options), feedsOf(cases, options), opset), "float64");
  }
});

it("every operator has golden values, a unique name and its ONNX name in the model", () => {
  const used = new Map<string, Set<string>>();
  // Operators that only gradients consist of have theirs in the golden gradients.
  const programs = [
    ...fixture.cases.map((test) => programOf([test])),
    ...families.flatMap(([, cases]) => cases.map((test) => gradientProgram([test]))),
  ];
  for (const program of programs) {
    const types = programToModel(program, { opset: 23 }).proto.graph!.node.map((node) => node.opType);
    for (const { operator } of program.nodes) {
      used.set(operator.name, new Set([...(used.get(operator.name) ?? []), ...types]));
    }
  }
  expect([...used.keys()].sort()).toEqual(operators.map((operator) => operator.name).sort());
  for (const { name, onnx } of operators) expect([...used.get(name)!], name).toContain(onnx);
});

it("the check against PyTorch can fail", () => {
  const test = fixture.cases.find(({ op }) => op === "softmax")!;
  const result = {
    dtype: "float32",
    shape: test.outputs[0]!.shape,
    data: Float32Array.from(numbersOf(test.outputs[0]!)),
  } as const;
  expectGolden([test], { "outputs.0.0": result });
  result.data[3]! += 1e-5;
  expect(() => expectGolden([test], { "outputs.0.0": result })).toThrow(/element 3/);
});
