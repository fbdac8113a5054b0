import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  compileProgram,
  type Device,
  generator,
  gradients,
  openDevice,
  ops,
  spec,
  type Tensor,
  tensor,
  trace,
  type Value,
} from "../src/index.ts";
import type { PlainOperator } from "../src/program/ops/common.ts";
import { applyOne } from "../src/program/value.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

/**
 * The largest difference of a function's gradients from central differences, relative to the larger of 1 and the slope;
 * float64, along random directions.
 */
async function checkSlopes(
  loss: (inputs: readonly Value[]) => Value,
  shapes: readonly (readonly number[])[],
  seed: number,
): Promise<number> {
  const random = generator(seed);
  const draw = (shape: readonly number[]): Tensor<"float64"> => {
    const drawn = tensor("float64", shape);
    drawn.data.forEach((_, at) => {
      drawn.data[at] = random.uniform() * 3 - 1.5;
    });
    return drawn;
  };
  const program = trace(
    ({ inputs }) => {
      const value = loss(inputs);
      return { loss: value, gradients: gradients(value, inputs) };
    },
    { inputs: shapes.map((shape) => spec("float64", shape)) },
  );
  const session = await compileProgram(device, program, { load: { optimization: "none" } });
  const at = shapes.map(draw);
  const direction = shapes.map(draw);
  const step = 1e-5;
  const feeds = (by: number) =>
    Object.fromEntries(
      at.map((value, index) => [
        `inputs.${index}`,
        tensor(
          "float64",
          value.shape,
          Array.from(value.data, (x, j) => x + by * direction[index]!.data[j]!),
        ),
      ]),
    );
  const results = await session.run(feeds(0));
  const ahead = Number((await session.run(feeds(step))).loss!.data[0]);
  const behind = Number((await session.run(feeds(-step))).loss!.data[0]);
  await session.release();
  const slope = (ahead - behind) / (2 * step);
  let along = 0;
  direction.forEach(({ data }, index) => {
    data.forEach((by, j) => {
      along += by * Number(results[`gradients.${index}`]!.data[j]);
    });
  });
  return Math.abs(slope - along) / Math.max(1, Math.abs(slope));
}

/** Each takes values of any shapes and gives one of shape [2, 3] so that all compose. */
const steps: Record<string, (a: Value, b: Value, vector: Value) => Value> = {
  tanh: (a) => ops.tanh(a),
  sine: (a) => ops.sin(a),
  sigmoid: (a, b) => ops.mul(ops.sigmoid(a), ops.cos(b)),
  sum: (a, b) => ops.add(a, b),
  difference: (a, _, v) => ops.sub(v, a),
  product: (a, b, v) => ops.mul(ops.mul(ops.tanh(a), v), b),
  quotient: (a, b) => ops.div(a, ops.add(2, ops.square(b))),
  softmax: (a, _, v) => ops.mul(ops.softmax(a, { axis: 0 }), v),
  logSoftmax: (a) => ops.mul(ops.logSoftmax(a), 0.3),
  turn: (a, b) => ops.transpose(ops.reshape(ops.add(a, ops.sin(b)), [3, 2]), [1, 0]),
  centre: (a) => ops.sub(a, ops.mean(a, { axes: 1, keepDimensions: true })),
  norm: (a) => ops.div(a, ops.sqrt(ops.add(1, ops.sumSquares(a, { axes: 0, keepDimensions: true })))),
  repeat: (a, _, v) => ops.mul(a, ops.expand(ops.logSumExp(v), [2, 3])),
  join: (a, b) => {
    const [first] = ops.split(ops.concat([ops.tanh(a), b], 0), [1, 3], 0);
    return ops.add(ops.squeeze(ops.unsqueeze(first!, 0), 0), b);
  },
  pad: (a) =>
    ops.add(
      a,
      ops.split(
        ops.pad(
          a,
          [
            [0, 0],
            [2, 0],
          ],
          { mode: "reflect" },
        ),
        [3, 2],
        1,
      )[0]!,
    ),
  choose: (a, b) => ops.where(ops.greater(a, 0.2), ops.exp(ops.tanh(b)), ops.mul(b, 0)),
  power: (a) => ops.pow(ops.add(1, ops.square(ops.tanh(a))), 1.7),
  largest: (a) => ops.mul(a, ops.prod(ops.tanh(a), { axes: 1, keepDimensions: true })),
};
const recipe = fc.record({
  seed: fc.integer({ min: 0, max: 1e6 }),
  nodes: fc.array(fc.record({ step: fc.constantFrom(...Object.keys(steps)), a: fc.nat(), b: fc.nat() }), {
    minLength: 2,
    maxLength: 8,
  }),
});

it("have the slopes of finite differences", async () => {
  await fc.assert(
    fc.asyncProperty(recipe, async ({ seed, nodes }) => {
      const loss = ([x, w, v]: readonly Value[]): Value => {
        const made: Value[] = [x!, ops.add(ops.mul(x!, 0.1), w!)];
        for (const { step, a, b } of nodes) made.push(steps[step]!(made[a % made.length]!, made[b % made.length]!, v!));
        const total = ops.add(ops.mean(made.at(-1)!), ops.mul(ops.sum(ops.mul(made[1]!, v!)), 0.1));
        return made.slice(2, -1).reduce((sum, value) => ops.add(sum, ops.mul(ops.mean(value), 0.2)), total);
      };
      // A step across the kink of `choose` is as good as impossible: it would have to lie within 1e-5.
      expect(await checkSlopes(loss, [[2, 3], [2, 1], [3]], seed)).toBeLessThan(1e-6);
    }),
    { numRuns: 30, seed: 20260 },
  );
});

const wrong: PlainOperator = {
  name: "wrongTanh",
  onnx: "Tanh",
  infer: ([x]) => [x!],
  gradient: ({ ops, results: [y], gradients: [d] }) => [ops.mul(d!, ops.sub(1.01, ops.square(y!)))],
  emit: ({ graph, inputs, outputs }) => void graph.node("Tanh", inputs, {}, outputs),
};

it("a rule that is 1 % off is found", async () => {
  const loss =
    (tanh: (x: Value) => Value) =>
    ([x]: readonly Value[]) =>
      ops.sum(tanh(x!));
  expect(await checkSlopes(loss(ops.tanh), [[2, 3]], 3)).toBeLessThan(1e-8);
  expect(
    await checkSlopes(
      loss((x) => applyOne(wrong, [x], {})),
      [[2, 3]],
      3,
    ),
  ).toBeGreaterThan(1e-3);
});

it("a rule that gives another shape is found", () => {
  const misshapen: PlainOperator = { ...wrong, gradient: ({ ops, gradients: [d] }) => [ops.sum(d!)] };
  expect(() =>
    trace(({ x }) => ({ g: gradients(ops.sum(ops.square(applyOne(misshapen, [x], {}))), x) }), {
      x: spec("float32", [2, 3]),
    }),
  ).toThrow("the gradient of ops.wrongTanh is float32 [] for an operand float32 [2, 3]");
});
