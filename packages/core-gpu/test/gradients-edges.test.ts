// Gradients at the edge of where a function has one, and losses over nothing.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Device,
  gradients,
  layers,
  openDevice,
  ops,
  spec,
  type Tensor,
  tensor,
  trace,
  type Value,
} from "../src/index.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

type Function = (x: Value) => Value;

/** Gradient of Σ f(x). */
async function slopes(f: Function, x: readonly number[], orders = 1): Promise<number[]> {
  const program = trace(
    (inputs) => {
      let value = f(inputs.x);
      for (let order = 0; order < orders; order++) value = gradients(ops.sum(value), inputs.x);
      return { value };
    },
    { x: spec("float64", [x.length]) },
  );
  const runner = await device.compile(program);
  const { value } = await runner.run({ x: tensor("float64", [x.length], x) });
  await runner.release();
  return [...(value as Tensor<"float64">).data];
}

describe("what `where` turned away does not come back as 0 · ∞:", () => {
  const positive = (x: Value) => ops.greater(x, 0);
  const cases: [string, Function, number[], number[]][] = [
    ["√x", (x) => ops.where(positive(x), ops.sqrt(x), x), [4, 0, -1], [0.25, 1, 1]],
    ["ln x", (x) => ops.where(positive(x), ops.log(x), x), [2, 0, -1], [0.5, 1, 1]],
    ["x^½", (x) => ops.where(positive(x), ops.pow(x, 0.5), x), [4, 0, -1], [0.25, 1, 1]],
    ["2^x by the exponent of 0", (x) => ops.where(positive(x), ops.pow(x, x), x), [1, 0, -1], [1, 1, 1]],
    ["1 ÷ x", (x) => ops.where(positive(x), ops.div(1, x), x), [2, 0, -1], [-0.25, 1, 1]],
    ["x ÷ x", (x) => ops.where(positive(x), ops.div(x, x), x), [2, 0, -1], [0, 1, 1]],
    ["e^x beyond its range", (x) => ops.where(ops.less(x, 700), ops.exp(x), x), [0, 1e4], [1, 1]],
  ];
  test.each(cases)("%s", async (_, f, x, expected) => {
    const found = await slopes(f, x);
    for (const [at, value] of expected.entries()) expect(found[at]).toBeCloseTo(value, 12);
  });

  test("√x and ln x in the second order", async () => {
    expect(await slopes((x) => ops.where(positive(x), ops.sqrt(x), x), [4, 0, -1], 2)).toEqual([-1 / 32, 0, 0]);
    expect(await slopes((x) => ops.where(positive(x), ops.log(x), x), [2, 0, -1], 2)).toEqual([-0.25, -0, -0]);
  });

  test("where nothing turns it away it is still infinite", async () => {
    expect(await slopes(ops.sqrt, [0])).toEqual([Number.POSITIVE_INFINITY]);
    expect(await slopes(ops.log, [0])).toEqual([Number.POSITIVE_INFINITY]);
  });
});

test("a norm has the gradient x ÷ ‖x‖, and 0 at 0", async () => {
  const [three, four] = await slopes((x) => ops.norm(x), [3, 4]);
  expect(three).toBeCloseTo(0.6, 14);
  expect(four).toBeCloseTo(0.8, 14);
  expect(await slopes((x) => ops.norm(x), [0, 0])).toEqual([0, 0]);
  expect(await slopes((x) => ops.norm(x, { axes: 0, keepDimensions: true }), [0, -2])).toEqual([0, -1]);
});

test("a batch whose labels are all ignored has loss 0 and gradient 0", async () => {
  const program = trace(
    ({ logits, labels }) => {
      const loss = ops.crossEntropy(logits, labels, { ignoreIndex: -100 });
      return { loss, gradient: gradients(loss, logits) };
    },
    { logits: spec("float32", ["n", 3]), labels: spec("int64", ["n"]) },
  );
  const runner = await device.compile(program);
  const logits = tensor("float32", [2, 3], [1, 2, 3, 4, 5, 6]);
  const ignored = await runner.run({ logits, labels: tensor("int64", [2], [-100, -100]) });
  expect([...ignored.loss!.data, ...ignored.gradient!.data].map((value) => Math.abs(Number(value)))).toEqual(
    Array(7).fill(0),
  );
  // ln(1 + e + e²) of one row, the other ignored: PyTorch's 2.407606.
  const one = await runner.run({ logits, labels: tensor("int64", [2], [0, -100]) });
  expect(Number(one.loss!.data[0])).toBeCloseTo(2.407606, 5);
});

describe("batch norm of one element a channel", () => {
  test("leaves the running statistics as they are", async () => {
    const params = layers.initBatchNorm(2);
    const program = trace(
      ({ params, x }) => {
        const { y, updated } = layers.batchNorm(params, x, { training: true });
        return { y, ...updated };
      },
      { params: layers.specsOf(params), x: spec("float32", ["n", 2]) },
    );
    const runner = await device.compile(program, { state: ["params"], initial: { params } });
    const alone = await runner.run({ x: tensor("float32", [1, 2], [5, -7]) });
    expect([alone.y, alone.runningMean, alone.runningVariance].map((value) => [...value!.data].map(Number))).toEqual([
      [0, 0],
      [0, 0],
      [1, 1],
    ]);
    // Two elements: means 1 and 4, unbiased variances 2 and 8; a tenth of them.
    const two = await runner.run({ x: tensor("float32", [2, 2], [0, 2, 2, 6]) });
    const moved = [two.runningMean, two.runningVariance].flatMap((value) => [...value!.data].map(Number));
    for (const [at, value] of [0.1, 0.4, 1.1, 1.7].entries()) expect(moved[at]).toBeCloseTo(value, 6);
  });

  test("is refused where the shape says so", () => {
    const params = layers.specsOf(layers.initBatchNorm(2));
    const traced = (shape: readonly number[]) => () =>
      trace(({ params, x }) => ({ y: layers.batchNorm(params, x, { training: true }).y }), {
        params,
        x: spec("float32", shape),
      });
    expect(traced([1, 2, 1, 1])).toThrow(
      "layers.batchNorm: training needs more than one element a channel; got float32 [1, 2, 1, 1]. Take larger batches",
    );
    expect(traced([1, 2, 1, 2])).not.toThrow();
  });
});
