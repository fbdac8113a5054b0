import { describe, expect, it } from "vitest";
import {
  compileProgram,
  describeModel,
  foldBatchNorm,
  InputError,
  openDevice,
  ops,
  type Program,
  programToModel,
  readModel,
  spec,
  type Tensor,
  tensor,
  trace,
  writeModel,
} from "../src/index.ts";

const program = trace(
  ({ x, head }) => {
    const hidden = ops.relu(x);
    return { logits: ops.linear(hidden, head.weight, head.bias), hidden };
  },
  { x: spec("float32", ["n", 3]), head: { weight: spec("float32", [2, 3]), bias: spec("float32", [2]) } },
);
const weight = tensor("float32", [2, 3], [1, 2, 3, 4, 5, 6]);
const bias = tensor("float32", [2], [10, 20]);

async function run(given: Program<unknown, unknown>, feeds: Record<string, Tensor>, options = {}) {
  const device = await openDevice("cpu");
  try {
    return await (await compileProgram(device, given, options)).run(feeds);
  } finally {
    await device.close();
  }
}

describe("programToModel", () => {
  it("refuses what is no program, such as the function itself", async () => {
    const device = await openDevice("cpu");
    const message = (caller: string, actual: string) =>
      `core-gpu.${caller}: the program must be a traced one; got ${actual}. Pass what \`trace\` gave.`;
    expect(() => programToModel((() => ({})) as never)).toThrow(message("programToModel", "function"));
    expect(() => compileProgram(program as never, device as never)).toThrow(
      "core-gpu.compileProgram: device must be an open device; got ",
    );
    await expect(device.compile(undefined as never)).rejects.toThrow(message("Device.compile", "undefined"));
    await device.close();
  });

  it("keeps names and symbolic dimensions, binds constants as initializers and survives a round trip", () => {
    const model = programToModel(program, { constants: { head: { weight, bias } }, name: "head", opset: 13 });
    const { inputs, outputs, initializers, opset } = describeModel(readModel(writeModel(model)));
    expect(inputs).toEqual([{ name: "x", dtype: "float32", shape: ["n", 3] }]);
    expect(outputs).toEqual([
      { name: "logits", dtype: "float32", shape: ["n", 2] },
      { name: "hidden", dtype: "float32", shape: ["n", 3] },
    ]);
    expect(initializers.map(({ name }) => name)).toEqual(["head.weight", "head.bias"]);
    expect(opset).toBe(13);
    expect(model.proto.graph!.name).toBe("head");
    expect(model.proto.irVersion).toBe(7n);
  });

  it("takes constants by flat names too, some or all, and computes with them", async () => {
    const x = tensor("float32", [2, 3], [1, -1, 1, 0, 1, 0]);
    const wanted = [1 + 3 + 10, 4 + 6 + 20, 2 + 10, 5 + 20];
    const bound = await run(program, { x }, { constants: { "head.weight": weight, head: { bias } } });
    expect([...bound.logits!.data]).toEqual(wanted);
    const partly = await run(program, { x, "head.bias": bias }, { constants: { head: { weight } } });
    expect([...partly.logits!.data]).toEqual(wanted);
    expect([...partly.hidden!.data]).toEqual([1, 0, 1, 0, 1, 0]);
  });

  it("copies constants: changing them afterwards does not change the model", () => {
    const mine = tensor("float32", [2], [1, 2]);
    const model = programToModel(program, { constants: { head: { bias: mine } } });
    const before = writeModel(model);
    mine.data[0] = 7;
    expect(writeModel(model)).toEqual(before);
  });

  it("writes constants that are views into larger buffers", async () => {
    const view = new Float32Array([9, 9, 1, 2, 3, 9]).subarray(2, 5);
    const shifted = trace(({ x }) => ({ y: ops.add(x, tensor("float32", [3], view)) }), { x: spec("float32", [3]) });
    const { y } = await run(shifted, { x: tensor("float32", [3]) });
    expect([...y!.data]).toEqual([1, 2, 3]);
  });

  it("gives one value two names, and inputs and constants as outputs", async () => {
    const twice = trace(
      ({ x }) => {
        const y = ops.relu(x);
        return { a: y, b: y, same: x, six: ops.add(2, 4), constant: ops.identity(tensor("int64", [1], [5])) };
      },
      { x: spec("float32", ["n"]) },
    );
    const results = await run(twice, { x: tensor("float32", [2], [-1, 1]) });
    const lists = Object.entries(results).map(([name, { data }]) => [name, Array.from(data, Number)]);
    expect(Object.fromEntries(lists)).toEqual({ a: [0, 1], b: [0, 1], same: [-1, 1], six: [6], constant: [5] });
  });

  it("calls results by operator and number, around names that are taken", () => {
    const named = trace(({ relu_0 }) => ({ y: ops.exp(ops.relu(relu_0)) }), { relu_0: spec("float32", ["n"]) });
    expect(programToModel(named).proto.graph!.node.map(({ output }) => output)).toEqual([["relu_0_2"], ["y"]]);
  });

  it("reads several symbols, or one from elsewhere, when the program runs", async () => {
    const tokens = trace(
      ({ x, y }) => ({
        heads: ops.reshape(x, ["n", "t", 2, 2]),
        joined: ops.reshape(ops.transpose(x, [1, 0, 2]), ["t", -1]),
        spread: ops.expand(tensor("float32", [1, 2], [1, 2]), ["m", 2]),
        split: ops.reshape(ops.reshape(x, [-1, 4]), ["n", "t", 4]),
        z: ops.relu(y),
      }),
      { x: spec("float32", ["n", "t", 4]), y: spec("float32", ["m"]) },
    );
    const x = tensor(
      "float32",
      [2, 3, 4],
      Float32Array.from({ length: 24 }, (_, at) => at),
    );
    const results = await run(tokens, { x, y: tensor("float32", [3]) });
    expect(results.heads!.shape).toEqual([2, 3, 2, 2]);
    expect(results.joined!.shape).toEqual([3, 8]);
    expect([...results.joined!.data.slice(0, 8)]).toEqual([0, 1, 2, 3, 12, 13, 14, 15]);
    expect([...results.spread!.data]).toEqual([1, 2, 1, 2, 1, 2]);
    expect(results.split!.shape).toEqual([2, 3, 4]);
    expect([...results.split!.data]).toEqual([...x.data]);
  });

  it("runs on no rows at all", async () => {
    const empty = trace(
      ({ x }) => ({
        y: ops.reshape(ops.softmax(ops.relu(x)), ["n", 2, 2]),
        flat: ops.flatten(x),
        s: ops.sum(x, { axes: 0 }),
      }),
      { x: spec("float32", ["n", 4]) },
    );
    const results = await run(empty, { x: tensor("float32", [0, 4]) });
    expect(Object.values(results).map(({ shape }) => shape)).toEqual([[0, 2, 2], [0, 4], [4]]);
    expect([...results.s!.data]).toEqual([0, 0, 0, 0]);
  });

  const refused: readonly (readonly [string, () => unknown, RegExp])[] = [
    ["an old opset", () => programToModel(program, { opset: 6 }), /option "opset".*got 6/],
    ["an unknown option", () => programToModel(program, { opsets: 17 } as never), /unknown option "opsets"/],
    [
      "an unknown constant",
      () => programToModel(program, { constants: { haed: { weight } } }),
      /must be inputs of the program; got "haed\.weight"\. Inputs: x, head\.weight, head\.bias/,
    ],
    [
      "a wrong shape",
      () => programToModel(program, { constants: { head: { weight: bias } } }),
      /constant "head\.weight" must be a tensor float32 \[2, 3\]; got float32 \[2\]/,
    ],
    [
      "a wrong dtype",
      () => programToModel(program, { constants: { head: { bias: tensor("int64", [2]) } } }),
      /must be a tensor float32 \[2\]; got int64 \[2\]/,
    ],
    [
      "an output called like an input",
      () => programToModel(trace(({ x }) => ({ x: ops.relu(x) }), { x: spec("float32", [1]) })),
      /may not have the name of an input; got "x"/,
    ],
  ];
  it.each(refused)("refuses %s", (_, action, expected) => {
    expect(action).toThrow(InputError);
    expect(action).toThrow(expected);
  });
});

describe("foldBatchNorm", () => {
  const norm = {
    scale: tensor("float32", [2], [2, 1]),
    bias: tensor("float32", [2], [1, -1]),
    mean: tensor("float32", [2], [3, 5]),
    variance: tensor("float32", [2], [3, 15]),
  };

  it("is weight · s and (bias − mean) · s + shift, by hand", () => {
    const folded = foldBatchNorm({ weight, bias }, norm, { epsilon: 1 });
    expect([...folded.weight.data]).toEqual([1, 2, 3, 1, 1.25, 1.5]);
    expect([...folded.bias.data]).toEqual([(10 - 3) * 1 + 1, (20 - 5) / 4 - 1]);
    expect([...foldBatchNorm({ weight }, norm, { epsilon: 1 }).bias.data]).toEqual([-3 + 1, -5 / 4 - 1]);
    expect([...weight.data]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it.each<readonly [string, () => unknown, RegExp]>([
    [
      "a vector as weight",
      () => foldBatchNorm({ weight: bias }, norm),
      /weight must be float32 \[out, \.\.\.\]; got float32 \[2\]/,
    ],
    [
      "a long mean",
      () => foldBatchNorm({ weight }, { ...norm, mean: tensor("float32", [3]) }),
      /mean must be float32 \[2\].*got float32 \[3\]/,
    ],
    [
      "a long bias",
      () => foldBatchNorm({ weight, bias: tensor("float32", [3]) }, norm),
      /conv\.bias must be float32 \[2\]/,
    ],
    ["a negative epsilon", () => foldBatchNorm({ weight }, norm, { epsilon: -1 }), /option "epsilon"/],
  ])("refuses %s", (_, action, expected) => {
    expect(action).toThrow(expected);
  });
});
