import { afterAll, describe, expect, it } from "vitest";
import {
  compileProgram,
  exportModel,
  gradients,
  type ImportedModel,
  importModel,
  onnx,
  openDevice,
  ops,
  spec,
  type Tensor,
  tensor,
  trace,
  type Value,
} from "../src/index.ts";
import { FunctionProtoSchema } from "../src/onnx/onnx_pb.ts";
import { graphOf, modelOf, node, type Parts } from "./import-parts.ts";
import { error, golden, load } from "./import-support.ts";
import { fixture, networks, randomFeeds } from "./onnx-support.ts";

const device = await openDevice("cpu");
afterAll(() => device.close());

async function answers(network: ImportedModel, feeds: Record<string, Tensor>, opset = network.opset) {
  const program = trace((inputs) => network.apply(network.params, inputs), network.inputs);
  const session = await compileProgram(device, program, { opset });
  try {
    return await session.run(feeds);
  } finally {
    await session.release();
  }
}

function numbers({ data }: Tensor): number[] {
  return Array.from(data, Number);
}

const rowsOf3 = spec("float32", ["n", 3]);
const weights = { weight: tensor("float32", [3], [1, 2, 3]) };
/** x · weight, 1 at the largest of each row by an operator that is not known and 0 elsewhere, and rectified. */
const hardmax: Parts = {
  nodes: [
    { type: "Mul", inputs: ["x", "weight"], outputs: ["scaled"] },
    { type: "Hardmax", inputs: ["scaled"], outputs: ["hard"] },
    { type: "Relu", inputs: ["hard"], outputs: ["y"] },
  ],
  inputs: { x: rowsOf3 },
  outputs: { y: rowsOf3 },
  stated: { hard: rowsOf3 },
  weights,
};
const x = tensor("float32", [2, 3], [1, 1, 1, -1, 2, -3]);

describe("nodes that no operator expresses", () => {
  it("run as they are and are listed", async () => {
    const network = importModel(modelOf(hardmax));
    expect(network.opaque).toEqual([{ node: "/hard", operator: "Hardmax", reason: "Hardmax is no operator of `ops`" }]);
    expect(network.outputs.y).toEqual(rowsOf3);
    expect(numbers((await answers(network, { x })).y!)).toEqual([0, 0, 1, 0, 1, 0]);
  });

  it("are named, with what depends on them, where a gradient is asked for", () => {
    const network = importModel(modelOf(hardmax));
    const attempt = () =>
      trace(
        ({ params, inputs }) => {
          const loss = ops.sum(network.apply(params, inputs).y!);
          return { gradient: gradients(loss, params.weight as Value) };
        },
        { params: network.params, inputs: network.inputs },
      );
    expect(attempt).toThrow(/opaque Hardmax node "\/hard" giving float32 \[n, 3\], used by relu/);
  });

  it("do not hinder gradients that do not pass through them", () => {
    const network = importModel(modelOf(hardmax));
    const program = trace(
      ({ x, bias }) => {
        const y = network.apply(network.params, { x }).y!;
        return { gradient: gradients(ops.sum(ops.mul(y, bias)), bias) };
      },
      { x: rowsOf3, bias: spec("float32", [3]) },
    );
    expect(program.outputs[0]!.spec.shape).toEqual([3]);
  });

  it("take the batch that they are given", () => {
    const network = importModel(modelOf(hardmax));
    const program = trace((inputs) => network.apply(network.params, inputs), { x: spec("float32", [8, 3]) });
    expect(program.outputs[0]!.spec.shape).toEqual([8, 3]);
  });

  it("are written only into a model of their own operator set", async () => {
    const network = importModel(modelOf(hardmax));
    await expect(answers(network, { x }, 21)).rejects.toThrow(
      'core-gpu.programToModel: opset must be 17 for the imported Hardmax node "/hard", which is written as it was read; got 21. Pass { opset: 17 }.',
    );
  });

  it("need outputs of known shape, which the caller may state", () => {
    const { stated: _, ...silent } = hardmax;
    expect(() => importModel(modelOf(silent))).toThrow(
      /Hardmax node "\/hard" must be one that `ops` expresses.*shape of its output "hard"/,
    );
    expect(importModel(modelOf(silent), { shapes: { hard: ["n", 3] } }).outputs.y!.shape).toEqual(["n", 3]);
  });

  it("may come from other operator sets", async () => {
    const parts: Parts = {
      nodes: [{ type: "QuickGelu", domain: "com.microsoft", inputs: ["x"], outputs: ["y"] }],
      inputs: { x: rowsOf3 },
      outputs: { y: rowsOf3 },
      domains: ["com.microsoft"],
    };
    const network = importModel(modelOf(parts));
    expect(network.opaque[0]!.operator).toBe("com.microsoft:QuickGelu");
    const { y } = await answers(network, { x });
    expect(y!.data[0]!).toBeCloseTo(1 / (1 + Math.exp(-1.702)), 5);
  });

  it("may hold graphs that read tensors around them", async () => {
    const scalar = spec("float32", []);
    const branch = (type: string) =>
      graphOf({
        nodes: [{ type, inputs: ["doubled", "weight"], outputs: [`${type}_result`] }],
        inputs: {},
        outputs: { [`${type}_result`]: rowsOf3 },
      });
    const parts: Parts = {
      nodes: [
        { type: "Add", inputs: ["x", "x"], outputs: ["doubled"] },
        { type: "ReduceSum", inputs: ["x"], outputs: ["total"], attributes: { keepdims: 0 } },
        { type: "Greater", inputs: ["total", "zero"], outputs: ["positive"] },
        {
          type: "If",
          inputs: ["positive"],
          outputs: ["y"],
          attributes: { then_branch: branch("Mul"), else_branch: branch("Sub") },
        },
      ],
      inputs: { x: rowsOf3 },
      outputs: { y: rowsOf3 },
      weights: { weight: weights.weight, zero: tensor("float32", scalar.shape as [], [0]) },
    };
    const network = importModel(modelOf(parts));
    expect(network.opaque.map(({ operator }) => operator)).toEqual(["If"]);
    const one = tensor("float32", [1, 3], [1, 1, 1]);
    expect(numbers((await answers(network, { x: one })).y!)).toEqual([2, 4, 6]);
    const less = tensor("float32", [1, 3], [-1, -1, -1]);
    expect(numbers((await answers(network, { x: less })).y!)).toEqual([-3, -4, -5]);
  });

  it("are those too whose attributes mean something new", () => {
    const parts: Parts = {
      nodes: [{ type: "Relu", inputs: ["x"], outputs: ["y"], attributes: { leak: 1 } }],
      inputs: { x: rowsOf3 },
      outputs: { y: rowsOf3 },
    };
    expect(importModel(modelOf(parts)).opaque[0]!.reason).toBe("its attribute leak is not known");
  });
});

describe("functions of the model", () => {
  it("are replaced by their nodes, attributes and inner calls included", async () => {
    const { proto } = modelOf({
      nodes: [{ type: "Outer", domain: "local", inputs: ["x"], outputs: ["y"], attributes: { slope: 1 } }],
      inputs: { x: rowsOf3 },
      outputs: { y: rowsOf3 },
      domains: ["local"],
    });
    const inner = node({ type: "Softmax", inputs: ["a"], outputs: ["b"], attributes: { axis: 0 } });
    inner.attribute[0]!.refAttrName = "along";
    const bodies = [
      { name: "Inner", attribute: ["along"], input: ["a"], output: ["b"], node: [inner] },
      {
        name: "Outer",
        attribute: ["slope"],
        input: ["p"],
        output: ["r"],
        node: [
          node({ type: "Inner", domain: "local", inputs: ["p"], outputs: ["q"], attributes: { along: 1 } }),
          node({ type: "Neg", inputs: ["q"], outputs: ["r"] }),
        ],
      },
    ];
    const functions = bodies.map((body) => onnx.create(FunctionProtoSchema, { domain: "local", ...body }));
    const network = importModel({ proto: onnx.changed(proto, { functions }) });
    expect(network.opaque).toEqual([]);
    const { y } = await answers(network, { x: tensor("float32", [1, 3], [0, 0, 0]) });
    expect(numbers(y!).map((value) => value.toFixed(4))).toEqual(["-0.3333", "-0.3333", "-0.3333"]);
  });
});

describe("what is known before it runs", () => {
  it("leaves no shape arithmetic in the program", () => {
    for (const name of ["vit-torchscript-17", "gpt2-torchscript-14", "gpt2-dynamo-18", "channels-last-12"]) {
      const network = importModel(load(name));
      const program = trace((inputs) => network.apply(network.params, inputs), network.inputs);
      const kinds = program.nodes.map(({ operator }) => operator.name);
      expect(kinds.filter((kind) => ["shapeOf", "cast", "identity", "unsqueeze"].includes(kind))).toEqual([]);
      expect(kinds.length).toBeLessThan(load(name).proto.graph!.node.length / (name.includes("torchscript") ? 2 : 1));
    }
  });

  it.each(networks)("leaves nothing opaque in %s, which runs as the file does", async (name) => {
    const model = fixture(name);
    const network = importModel(model);
    expect(network.opaque).toEqual([]);
    const feeds = randomFeeds(model, 2);
    const session = await device.load(model);
    const wanted = await session.run(feeds);
    await session.release();
    const result = await answers(network, feeds);
    for (const [output, value] of Object.entries(wanted)) expect(error(result[output]!, value)).toBeLessThan(1e-5);
  });

  it("chooses the branch of an If", () => {
    const branch = (type: string) =>
      graphOf({ nodes: [{ type, inputs: ["x"], outputs: [type] }], inputs: {}, outputs: { [type]: rowsOf3 } });
    const parts: Parts = {
      nodes: [
        { type: "Shape", inputs: ["x"], outputs: ["shape"] },
        { type: "Gather", inputs: ["shape", "one"], outputs: ["width"] },
        { type: "Equal", inputs: ["width", "three"], outputs: ["fits"] },
        {
          type: "If",
          inputs: ["fits"],
          outputs: ["y"],
          attributes: { then_branch: branch("Relu"), else_branch: branch("Neg") },
        },
      ],
      inputs: { x: rowsOf3 },
      outputs: { y: rowsOf3 },
      weights: { one: tensor("int64", [], [1]), three: tensor("int64", [], [3]) },
    };
    const network = importModel(modelOf(parts));
    const program = trace((inputs) => network.apply({}, inputs), network.inputs);
    expect(program.nodes.map(({ operator }) => operator.name)).toEqual(["relu"]);
  });

  it("follows any batch and length", async () => {
    const network = importModel(load("gpt2-dynamo-18"));
    const tokens = golden("gpt2-dynamo-18").input as Tensor<"int64">;
    const whole = await answers(network, { input: tokens });
    // Causal: the first tokens' logits do not change when the rest is cut off.
    const short = tensor("int64", [1, 4], tokens.data.slice(0, 4));
    const part = await answers(network, { input: short });
    expect(part.logits!.shape).toEqual([1, 4, 17]);
    const differences = numbers(part.logits!).map((value, at) => Math.abs(value - Number(whole.logits!.data[at])));
    expect(Math.max(...differences)).toBeLessThan(1e-4);
  });
});

describe("bad input", () => {
  const network = importModel(modelOf(hardmax));
  const given = { x: spec("float32", ["n", 3]) };

  it.each<[string, () => unknown, RegExp]>([
    ["a path", () => importModel("network.onnx" as never), /the model must be one that was read or made; got string/],
    ["a promise", () => importModel(Promise.resolve() as never), /got a Promise\. Await it/],
    ["a path to save", () => exportModel("network.onnx" as never, {}), /core-gpu\.exportModel: .*got string/],
    [
      "an input of another name",
      () => trace(({ z }) => network.apply(network.params, { z }), { z: spec("float32", ["n", 3]) }),
      /all inputs of the model must be given; got none for "x", and unknown "z"/,
    ],
    [
      "another operator set",
      () => importModel(modelOf({ ...hardmax, opset: 9 })),
      /operator set 11 to 23 to be differentiated; got 9/,
    ],
    [
      "an unknown constant",
      () => importModel(modelOf(hardmax), { constants: ["weigth"] }),
      /got "weigth"\. Did you mean "weight"\?/,
    ],
    [
      "an unknown shape",
      () => importModel(modelOf(hardmax), { shapes: { harrd: [1] } }),
      /got "harrd"\. Did you mean "hard"/,
    ],
    ["an unknown option", () => importModel(modelOf(hardmax), { shape: {} } as object), /unknown option "shape"/],
    [
      "a missing parameter",
      () => trace((inputs) => network.apply({}, inputs), given),
      /all parameters of the model must be given; got none for "weight"/,
    ],
    [
      "an unknown parameter",
      () => trace((inputs) => network.apply({ ...network.params, wait: x }, inputs), given),
      /parameters must be those of the model; got "wait"/,
    ],
    [
      "a parameter of another shape",
      () => trace((inputs) => network.apply({ weight: x }, inputs), given),
      /"weight" must be float32 \[3\]; got float32 \[2, 3\]/,
    ],
    [
      "an input of another dtype",
      () => trace((inputs) => network.apply(network.params, inputs), { x: spec("int64", ["n", 3]) }),
      /"x" must be float32 \[n, 3\]; got int64/,
    ],
    [
      "weights for no initializer",
      () => exportModel(modelOf(hardmax), { wait: x }),
      /params must name initializers of the model; got "wait"/,
    ],
    [
      "weights of another shape",
      () => exportModel(modelOf(hardmax), { weight: x }),
      /"weight" must be float32 \[3\]; got float32 \[2, 3\]/,
    ],
  ])("refuses %s", (_, attempt, message) => {
    expect(attempt).toThrow(message);
  });

  it("names the node where an operator refuses what was given", () => {
    const parts: Parts = {
      nodes: [{ type: "Add", inputs: ["x", "z"], outputs: ["y"] }],
      inputs: { x: rowsOf3, z: rowsOf3 },
      outputs: { y: rowsOf3 },
    };
    const sum = importModel(modelOf(parts));
    const attempt = () => trace((inputs) => sum.apply({}, inputs), { x: rowsOf3, z: spec("float32", ["m", 3]) });
    expect(attempt).toThrow(
      /Add node "\/y" must get operands that it takes; got core-gpu.ops.add: shapes must broadcast/,
    );
  });

  it("leaves the model that is exported as it was", () => {
    const model = modelOf(hardmax);
    const saved = exportModel(model, { weight: tensor("float32", [3], [0, 0, 0]) });
    expect(numbers(importModel(saved).params.weight!)).toEqual([0, 0, 0]);
    expect(numbers(importModel(model).params.weight!)).toEqual([1, 2, 3]);
  });

  it("keeps constants out of the parameters", () => {
    expect(Object.keys(importModel(modelOf(hardmax), { constants: ["weight"] }).params)).toEqual([]);
  });
});
