import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Device,
  gradients,
  openDevice,
  ops,
  type Program,
  spec,
  tensor,
  trace,
  type Value,
} from "../src/index.ts";
import type { PlainOperator } from "../src/program/ops/common.ts";
import { applyOne } from "../src/program/value.ts";
import { runProgram } from "./gradients-support.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

/** How often each operator occurs. */
function census({ nodes }: Program<unknown, unknown>): Record<string, number> {
  const count: Record<string, number> = {};
  for (const { operator } of nodes) count[operator.name] = (count[operator.name] ?? 0) + 1;
  return count;
}

const matrix = spec("float32", [2, 3]);
const numbers = tensor("float32", [2, 3], [0.5, -1, 2, 0.25, 3, -0.75]);

describe("reverse mode", () => {
  it("sums over the uses of a value", async () => {
    const program = trace(
      ({ x }) => ({ gradient: gradients(ops.sum(ops.add(ops.mul(ops.mul(x, x), x), ops.sub(x, ops.mul(x, 4)))), x) }),
      { x: matrix },
    );
    const { gradient } = await runProgram(device, program, { x: numbers });
    expect(Array.from(gradient!.data, Number)).toEqual(Array.from(numbers.data, (x) => 3 * x * x - 3));
  });

  it("differentiates by inputs, by values in between and by the loss itself", async () => {
    const program = trace(
      ({ x }) => {
        const middle = ops.mul(x, 3);
        const loss = ops.sum(ops.square(middle));
        return { gradient: gradients(loss, { x, middle, loss }) };
      },
      { x: matrix },
    );
    const results = await runProgram(device, program, { x: numbers });
    const [x, middle, loss] = ["x", "middle", "loss"].map((name) => results[`gradient.${name}`]);
    expect(Array.from(middle!.data, Number)).toEqual(Array.from(numbers.data, (value) => 6 * value));
    expect(Array.from(x!.data, Number)).toEqual(Array.from(numbers.data, (value) => 18 * value));
    expect(loss).toEqual(tensor("float32", [], [1]));
  });

  it("gives equal trees, one value for one value", () => {
    const program = trace(
      ({ layers, x }) => ({
        g: gradients(ops.sum(ops.mul(x, ops.add(layers[0]!.w, layers[1]!.w))), { layers, twice: [x, x] }),
      }),
      { layers: [{ w: matrix }, { w: matrix }], x: matrix },
    );
    expect(program.outputs.map(({ name }) => name)).toEqual(["g.layers.0.w", "g.layers.1.w", "g.twice.0", "g.twice.1"]);
    expect(program.outputs[2]!.value).toBe(program.outputs[3]!.value);
  });

  it("takes what passed stopGradient for constant", async () => {
    const program = trace(
      ({ x }) => ({ gradient: gradients(ops.sum(ops.mul(x, ops.stopGradient(ops.square(x)))), x) }),
      { x: matrix },
    );
    const { gradient } = await runProgram(device, program, { x: numbers });
    expect(Array.from(gradient!.data, Number)).toEqual(Array.from(numbers.data, (x) => x * x));
  });

  it("is not recursive: depth is no limit", () => {
    const program = trace(
      ({ x }) => {
        let y: Value = x;
        for (let layer = 0; layer < 8_000; layer++) y = ops.tanh(y);
        return { gradient: gradients(ops.sum(y), x) };
      },
      { x: spec("float32", [1]) },
    );
    expect(program.nodes.length).toBeGreaterThan(16_000);
  });
});

describe("only what is asked for", () => {
  const specs = {
    x: spec("float32", ["n", 1]),
    body: { weight: spec("float32", [1, 5]), bias: spec("float32", [5]) },
    head: { weight: spec("float32", [5]), bias: spec("float32", []) },
  };
  type Layer = { readonly weight: Value; readonly bias: Value };
  const forward = ({ x, body, head }: { x: Value; body: Layer; head: Layer }) => {
    const hidden = ops.tanh(ops.add(ops.mul(x, body.weight), body.bias));
    return ops.sum(ops.add(ops.mul(hidden, head.weight), head.bias));
  };

  it("frozen parameters have no nodes", () => {
    const count = (wrt: (inputs: Parameters<typeof forward>[0]) => Record<string, Value>) => {
      const program = trace((inputs) => {
        const loss = forward(inputs);
        return { loss, g: gradients(loss, wrt(inputs)) };
      }, specs);
      return program.nodes.length - trace((inputs) => ({ loss: forward(inputs) }), specs).nodes.length;
    };
    // The gradient of Σ hidden · weight is hidden, summed over the samples: one node more, and none for the body.
    expect(count(({ head }) => ({ weight: head.weight }))).toBe(1);
    // Through tanh (1 − y², weighted), summed over the samples.
    expect(count(({ body }) => ({ bias: body.bias }))).toBe(4);
    expect(count(({ head, body }) => ({ weight: head.weight, bias: body.bias }))).toBe(5);
  });

  it.each<[string, (x: Value) => Value, Record<string, number>]>([
    // The forward nodes that no gradient reads are gone; a one is not multiplied by, and only repeated at the very end.
    ["sum", (x) => ops.sum(x), { expand: 1 }],
    ["mean", (x) => ops.mean(x), { expand: 1 }],
    ["sum of sums", (x) => ops.sum(ops.sum(x, { axes: 1 })), { expand: 1 }],
    ["sum of squares", (x) => ops.sum(ops.square(x)), { mul: 1 }],
    ["scaled sum", (x) => ops.mul(ops.sum(ops.reshape(ops.neg(x), [6])), 0.5), { expand: 1 }],
    ["two sums", (x) => ops.add(ops.sum(x), ops.mean(x)), { add: 1, expand: 1 }],
    ["sum of exponentials", (x) => ops.sum(ops.exp(x)), { exp: 1 }],
    ["mean of squares", (x) => ops.mean(ops.square(x)), { mul: 1 }],
    ["mean over rows", (x) => ops.sum(ops.square(ops.mean(x, { axes: 0 }))), { mean: 1, mul: 2, expand: 1 }],
  ])("lean: %s", (_, loss, expected) => {
    const program = trace(({ x }) => ({ gradient: gradients(loss(x), x) }), { x: matrix });
    expect(census(program)).toEqual(expected);
  });
});

describe("errors", () => {
  const attempt = (fn: (inputs: { x: Value; y: Value; count: Value }) => Value) =>
    expect(() => trace((inputs) => ({ g: fn(inputs) }), { x: matrix, y: matrix, count: spec("int64", []) }));

  it("a loss that is no scalar", () => {
    attempt(({ x }) => gradients(ops.square(x), x)).toThrow(
      "core-gpu.gradients: the loss must be a float32 or float64 scalar []; got float32 [2, 3]. Take its ops.sum or ops.mean.",
    );
  });

  it("a loss of whole numbers, and one that is no value", () => {
    attempt(({ x, count }) => gradients(count, x)).toThrow(
      "the loss must be a float32 or float64 scalar []; got int64 []",
    );
    attempt(({ x }) => gradients(1 as unknown as Value, x)).toThrow(
      "the loss must be a float32 or float64 scalar []; got 1",
    );
  });

  it.each<[string, (x: Value) => Value]>([
    ["not used", (x) => x],
    ["stopped", (x) => ops.stopGradient(x)],
    ["rounded", (x) => ops.round(x)],
    ["compared", (x) => ops.cast(ops.greater(x, 0), "float32")],
    ["cast to whole numbers", (x) => ops.cast(ops.cast(x, "int64"), "float32")],
  ])("a loss that does not depend on it: %s", (what, fn) => {
    attempt(({ x, y }) => gradients(ops.sum(what === "not used" ? x : ops.add(x, fn(y))), { a: [x, y] }).a[1]!).toThrow(
      'core-gpu.gradients: the loss must depend on every value it is differentiated by; got it does not on input "y", float32 [2, 3]. Leave it out of `wrt`, or use it in the loss.',
    );
  });

  it("whole numbers and other things as `wrt`", () => {
    attempt(({ x, count }) => gradients(ops.sum(x), count)).toThrow(
      '`wrt` must hold float32 or float64 values of the traced function; got input "count", int64 []',
    );
    attempt(({ x }) => gradients(ops.sum(x), { lr: 0.1 } as unknown as { lr: Value }).lr).toThrow(
      'the tree may hold only plain records, arrays and leaves with a dtype and a shape; got 0.1 at "lr"',
    );
  });

  it("an operator without a gradient, with what depends on it", () => {
    const mystery: PlainOperator = { name: "mystery", onnx: "Tanh", infer: ([x]) => [x!], emit: () => {} };
    attempt(({ x }) => {
      const y = applyOne(mystery, [x], {});
      return gradients(ops.sum(ops.add(ops.exp(y), ops.neg(y))), x);
    }).toThrow(
      "core-gpu.gradients: every operator between the loss and what it is differentiated by must have a gradient; got ops.mystery giving float32 [2, 3], used by exp, neg. Use another operator, or ops.stopGradient before it.",
    );
    // Where nothing asked for lies before it, it is no obstacle.
    attempt(({ x, y }) => gradients(ops.sum(ops.mul(applyOne(mystery, [x], {}), y)), y)).not.toThrow();
  });
});
