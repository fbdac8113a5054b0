import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Device, gradients, openDevice, ops, spec, trace, type Value } from "../src/index.ts";
import { distance, runProgram } from "./gradients-support.ts";
import { type Packed, unpack } from "./program-support.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

const functions: Record<string, (x: Value, w: Value) => Value> = {
  perceptron: (x, w) => ops.sum(ops.square(ops.tanh(ops.mul(x, w)))),
  logSoftmax: (x, w) => ops.mean(ops.mul(ops.logSoftmax(x), w)),
  softmaxOfProduct: (x, w) => ops.sum(ops.square(ops.softmax(ops.mul(x, w), { axis: 0 }))),
  norm: (x, w) => ops.sum(ops.sqrt(ops.add(ops.sumSquares(x, { axes: 1 }), ops.exp(w)))),
  power: (x, w) =>
    ops.add(ops.sum(ops.pow(ops.exp(x), w)), ops.mean(ops.div(ops.pow(x, 3), ops.add(1, ops.square(w))))),
  pieces(x, w) {
    const turned = ops.transpose(x, [1, 0]);
    const joined = ops.concat([turned, ops.mul(turned, w)], 1);
    const padded = ops.pad(joined, [
      [0, 0],
      [1, 1],
    ]);
    return ops.add(ops.sum(ops.square(ops.reshape(padded, [-1]))), ops.sumSquares(ops.relu(x)));
  },
  logSumExp: (x, w) =>
    ops.sum(ops.mul(ops.logSumExp(ops.mul(x, w), { axes: 1 }), ops.sigmoid(ops.split(w, [1, 2], 0)[0]!))),
  product: (x, w) => ops.add(ops.sum(ops.mul(ops.prod(x, { axes: 1 }), w)), ops.mean(ops.cos(ops.sin(x)))),
};
type Golden = Record<"x" | "w" | "v" | "loss" | "first" | "secondX" | "secondW", Packed>;
const { cases } = JSON.parse(readFileSync(new URL("../fixtures/second-order.json", import.meta.url), "utf8")) as {
  cases: Record<string, Golden>;
};

it.each(Object.entries(cases))("%s: gradients of gradients are PyTorch's", async (name, golden) => {
  const program = trace(
    ({ x, w, v }) => {
      const loss = functions[name]!(x, w);
      const first = gradients(loss, x);
      const second = gradients(ops.sum(ops.mul(first, v)), { x, w });
      return { loss, first, secondX: second.x, secondW: second.w };
    },
    Object.fromEntries((["x", "w", "v"] as const).map((key) => [key, spec("float64", golden[key].shape)])) as Record<
      "x" | "w" | "v",
      ReturnType<typeof spec>
    >,
  );
  const results = await runProgram(device, program, { x: unpack(golden.x), w: unpack(golden.w), v: unpack(golden.v) });
  for (const key of ["loss", "first", "secondX", "secondW"] as const) {
    expect(distance(results[key]!, golden[key]), key).toBeLessThan(1e-9);
  }
});

it("has all functions", () => {
  expect(Object.keys(cases).sort()).toEqual(Object.keys(functions).sort());
});
