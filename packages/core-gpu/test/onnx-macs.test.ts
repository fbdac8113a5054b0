import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { countMacs, macsUpTo } from "../src/onnx/macs.ts";
import { describeModel, type Model, readModel, writeModel } from "../src/onnx/model.ts";
import { ModelProtoSchema } from "../src/onnx/onnx_pb.ts";
import { proposeCuts } from "../src/onnx/propose.ts";
import { probeShapes } from "../src/onnx/shapes.ts";
import { addTaps } from "../src/onnx/taps.ts";
import * as ops from "../src/program/ops/index.ts";
import { spec } from "../src/program/spec.ts";
import { programToModel } from "../src/program/to-model.ts";
import { trace } from "../src/program/trace.ts";
import { tensor } from "../src/tensor.ts";
import { facts, fixture, networks, plainDevice, randomFeeds, runOnce } from "./onnx-support.ts";

const count = async (model: Model) => countMacs(model, await probeShapes(plainDevice(), model));
const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

test.each([...networks, "resnet20-hollow"])("%s: MACs are half of what torch's FLOP counter says", async (name) => {
  expect((await count(fixture(name))).total).toBe(facts()[name]!.macs);
});

test("ResNet-20 for CIFAR, counted by hand", async () => {
  const stem = 16 * (3 * 3 * 3) * (32 * 32);
  // Three blocks of two convolutions at each size; the first one of the second and third size halves the image.
  const first = 6 * (16 * (16 * 3 * 3) * (32 * 32));
  const second = 32 * (16 * 3 * 3) * (16 * 16) + 5 * (32 * (32 * 3 * 3) * (16 * 16));
  const third = 64 * (32 * 3 * 3) * (8 * 8) + 5 * (64 * (64 * 3 * 3) * (8 * 8));
  const classifier = 64 * 10;
  expect(stem + first + second + third + classifier).toBe(40_551_040);
  const model = fixture("resnet20-hollow");
  const counted = await count(model);
  expect(counted.total).toBe(40_551_040);
  expect(counted.nodes.length).toBe(20);
  expect(macsUpTo(model, counted, ["/Relu_output_0"])).toBe(stem);
  expect(macsUpTo(model, counted, ["/blocks/blocks.2/Relu_1_output_0"])).toBe(stem + first);
  expect(macsUpTo(model, counted, ["/blocks/blocks.5/Relu_1_output_0", "/Relu_output_0"])).toBe(stem + first + second);
  expect(macsUpTo(model, counted, ["logits"])).toBe(40_551_040);
  expect(macsUpTo(model, counted, ["x"])).toBe(0);
  expect(counted.uncounted).toEqual(["Relu", "Add", "ReduceMean"]);
});

test("a network with depthwise convolutions, counted by hand", async () => {
  const stem = 8 * (3 * 9) * (16 * 16);
  const block0 = 24 * 8 * 256 + 24 * (1 * 9) * 256 + 8 * 24 * 256;
  const block1 = 24 * 8 * 256 + 24 * (1 * 9) * 64 + 12 * 24 * 64;
  const block2 = 36 * 12 * 64 + 36 * (1 * 9) * 64 + 12 * 36 * 64;
  expect((await count(fixture("mobilenet"))).total).toBe(stem + block0 + block1 + 2 * block2 + 12 * 10);
});

test("a transformer, counted by hand", async () => {
  const [tokens, d, heads, layers] = [16, 16, 2, 3];
  const patches = d * (3 * 8 * 8) * tokens;
  const projections = 4 * tokens * d * d;
  const attention = heads * tokens * tokens * (d / heads) * 2;
  const feedForward = 2 * tokens * d * (4 * d);
  const model = fixture("transformer");
  const counted = await count(model);
  expect(counted.total).toBe(patches + layers * (projections + attention + feedForward) + d * 10);
  expect(macsUpTo(model, counted, ["add_107"])).toBe(patches + projections + attention);
});

test("products with zero weights can be left out, through rearranged weights too", async () => {
  const model = readModel(writeModel(fixture("mobilenet")));
  const shapes = await probeShapes(plainDevice(), model);
  expect(countMacs(model, shapes, { skipZeros: true })).toEqual(countMacs(model, shapes));
  const weights = model.proto.graph!.initializer;
  const named = (node: string | undefined) => weights.find(({ name }) => name === node)!;
  const convolution = model.proto.graph!.node.find(({ opType }) => opType === "Conv")!;
  const stem = named(convolution.input[1]);
  stem.rawData.fill(0, 0, stem.rawData.length / 4);
  const left = countMacs(model, shapes, { skipZeros: true });
  const dense = countMacs(model, shapes);
  expect(dense.nodes[0]!.macs - left.nodes[0]!.macs).toBe(8 * (3 * 9) * (16 * 16) * 0.25);
  expect(dense.total - left.total).toBe(dense.nodes[0]!.macs - left.nodes[0]!.macs);
  const program = trace(({ x, weight }) => ({ y: ops.matmul(x, ops.transpose(weight, [1, 0])) }), {
    x: spec("float32", ["n", 4]),
    weight: spec("float32", [3, 4]),
  });
  const weight = tensor("float32", [3, 4], [1, 0, 0, 2, 0, 0, 3, 4, 5, 0, 0, 0]);
  const product = programToModel(program, { constants: { weight } });
  const found = countMacs(product, await probeShapes(plainDevice(), product), { skipZeros: true });
  expect(found.total).toBe(5);
});

test("MACs of the stages between proposals add up, and grow with the batch", async () => {
  const model = fixture("densenet");
  const one = await count(model);
  const cumulative = [...proposeCuts(model), "logits"].map((name) => macsUpTo(model, one, [name]));
  expect(cumulative).toEqual([...cumulative].sort((a, b) => a - b));
  expect(cumulative.at(-1)).toBe(one.total);
  const three = countMacs(model, await probeShapes(plainDevice(), model, { x: [3, 3, 32, 32] }));
  expect(three.total).toBe(3 * one.total);
  expect(three.total).toBe(sum(three.nodes.map(({ macs }) => macs)));
});

/** MACs of one node with inputs of the given shapes and an output y. */
function nodeMacs(
  opType: string,
  inputs: readonly (readonly number[])[],
  output: readonly number[],
  attributes: Readonly<Record<string, number | string>> = {},
  domain = "",
): { macs: number; uncounted: readonly string[] } {
  const names = inputs.map((_, at) => `i${at}`);
  const proto = create(ModelProtoSchema, {
    graph: {
      input: names.map((name) => ({ name })),
      output: [{ name: "y" }],
      node: [
        {
          opType,
          domain,
          input: names,
          output: ["y"],
          attribute: Object.entries(attributes).map(([name, value]) =>
            typeof value === "number" ? { name, i: BigInt(value) } : { name, s: new TextEncoder().encode(value) },
          ),
        },
      ],
    },
  });
  const shapes = new Map([...names.map((name, at): [string, readonly number[]] => [name, inputs[at]!]), ["y", output]]);
  const { total, uncounted } = countMacs({ proto }, shapes);
  return { macs: total, uncounted };
}

test.each<[string, Parameters<typeof nodeMacs>, number]>([
  [
    "Conv, 2 groups",
    [
      "Conv",
      [
        [5, 8, 6, 6],
        [12, 4, 3, 3],
      ],
      [5, 12, 4, 4],
      { group: 2 },
    ],
    5 * 12 * 16 * (4 * 9),
  ],
  [
    "Conv, 1-D",
    [
      "Conv",
      [
        [1, 8, 10],
        [4, 8, 3],
      ],
      [1, 4, 8],
    ],
    4 * 8 * (8 * 3),
  ],
  // Every input element meets each of 6 · 4 · 4 weights once.
  [
    "ConvTranspose",
    [
      "ConvTranspose",
      [
        [1, 8, 5, 5],
        [8, 6, 4, 4],
      ],
      [1, 6, 10, 10],
    ],
    8 * 25 * (6 * 16),
  ],
  [
    "Gemm",
    [
      "Gemm",
      [
        [7, 3],
        [3, 5],
      ],
      [7, 5],
    ],
    7 * 3 * 5,
  ],
  [
    "Gemm, transA",
    [
      "Gemm",
      [
        [3, 7],
        [3, 5],
      ],
      [7, 5],
      { transA: 1 },
    ],
    7 * 3 * 5,
  ],
  [
    "MatMul, batched and broadcast",
    [
      "MatMul",
      [
        [2, 4, 7, 3],
        [3, 5],
      ],
      [2, 4, 7, 5],
    ],
    8 * 7 * 3 * 5,
  ],
  ["MatMul, vectors", ["MatMul", [[9], [9]], []], 9],
  [
    "MatMulInteger",
    [
      "MatMulInteger",
      [
        [7, 3],
        [3, 5],
      ],
      [7, 5],
    ],
    105,
  ],
  ["QLinearConv", ["QLinearConv", [[1, 8, 6, 6], [], [], [12, 8, 3, 3]], [1, 12, 4, 4]], 12 * 16 * (8 * 9)],
  [
    "Einsum, matrix product",
    [
      "Einsum",
      [
        [7, 3],
        [3, 5],
      ],
      [7, 5],
      { equation: "ij,jk->ik" },
    ],
    105,
  ],
  [
    "Einsum, attention",
    [
      "Einsum",
      [
        [2, 6, 4, 8],
        [2, 5, 4, 8],
      ],
      [2, 4, 6, 5],
      { equation: "bqhd, bkhd -> bhqk" },
    ],
    2 * 6 * 5 * 4 * 8,
  ],
  [
    "Einsum, ellipsis",
    [
      "Einsum",
      [
        [2, 4, 7, 3],
        [4, 3, 5],
      ],
      [2, 4, 7, 5],
      { equation: "...ij,...jk->...ik" },
    ],
    8 * 105,
  ],
  [
    "LSTM",
    [
      "LSTM",
      [
        [6, 2, 3],
        [1, 16, 3],
        [1, 16, 4],
      ],
      [6, 1, 2, 4],
    ],
    6 * 2 * (16 * 3 + 16 * 4),
  ],
  [
    "Attention, four dimensions",
    [
      "Attention",
      [
        [2, 4, 6, 8],
        [2, 4, 5, 8],
        [2, 4, 5, 3],
      ],
      [2, 4, 6, 3],
    ],
    2 * 4 * 6 * 5 * (8 + 3),
  ],
  [
    "Attention, three dimensions",
    [
      "Attention",
      [
        [2, 6, 32],
        [2, 5, 32],
        [2, 5, 12],
      ],
      [2, 6, 12],
      { q_num_heads: 4, kv_num_heads: 4 },
    ],
    2 * 6 * 5 * 4 * (8 + 3),
  ],
  [
    "FusedMatMul, transA",
    [
      "FusedMatMul",
      [
        [3, 7],
        [3, 5],
      ],
      [7, 5],
      { transA: 1 },
      "com.microsoft",
    ],
    105,
  ],
  [
    "FusedConv",
    [
      "FusedConv",
      [
        [1, 8, 6, 6],
        [12, 8, 3, 3],
      ],
      [1, 12, 4, 4],
      {},
      "com.microsoft",
    ],
    12 * 16 * 72,
  ],
  [
    "Attention, projected",
    ["Attention", [[2, 6, 10], [10, 24], [24]], [2, 6, 8], {}, "com.microsoft"],
    2 * 6 * 10 * 24 + 2 * (2 * 6 * 6 * 8),
  ],
])("%s", (_, node, macs) => {
  expect(nodeMacs(...node)).toEqual({ macs, uncounted: [] });
});

test("operators that are not counted are named, those that only move data are not", () => {
  expect(nodeMacs("Softmax", [[2, 3]], [2, 3])).toEqual({ macs: 0, uncounted: ["Softmax"] });
  expect(nodeMacs("Transpose", [[2, 3]], [3, 2])).toEqual({ macs: 0, uncounted: [] });
  expect(
    nodeMacs(
      "Conv",
      [
        [1, 1, 3, 3],
        [1, 1, 3, 3],
      ],
      [1, 1, 1, 1],
      {},
      "my.own",
    ),
  ).toEqual({ macs: 0, uncounted: ["Conv"] });
  expect(nodeMacs("Einsum", [[2], [2], [2]], [], { equation: "i,i,i->" }).uncounted).toEqual(["Einsum"]);
  expect(
    nodeMacs(
      "FusedMatMul",
      [
        [3, 7],
        [3, 5],
      ],
      [7, 5],
      { transBatchA: 1 },
      "com.microsoft",
    ).uncounted,
  ).toEqual(["FusedMatMul"]);
});

test("a missing shape and an unknown tensor are refused", async () => {
  const model = fixture("vgg");
  expect(() => countMacs(model, new Map())).toThrow(
    /core-gpu\.countMacs: Conv node "\/features\/features\.0\/Conv" needs the shape of "features\.0\.weight"; got none\. Take the shapes from probeShapes/,
  );
  const counted = await count(model);
  expect(() => macsUpTo(model, counted, ["logit"])).toThrow(/macsUpTo: .*got "logit"\. Did you mean "logits"/);
});

test.each([...networks, "control-flow", "types"])(
  "%s: probed shapes are those of the tensors themselves",
  async (name) => {
    const model = fixture(name);
    const inputs = describeModel(model).inputs.map(
      ({ name: input, shape }) => [input, shape.map((size) => (typeof size === "number" ? size : 2))] as const,
    );
    const shapes = await probeShapes(plainDevice(), model, Object.fromEntries(inputs));
    // Sequences have no shape.
    const names = model.proto.graph!.node.flatMap(({ output }) => output).filter((output) => output !== "pair");
    const values = await runOnce(addTaps(model, names), randomFeeds(model, 2));
    for (const output of names) expect([output, shapes.get(output)]).toEqual([output, values[output]!.shape]);
    for (const { name: weight, shape } of describeModel(model).initializers) expect(shapes.get(weight)).toEqual(shape);
    for (const [input, shape] of inputs) expect(shapes.get(input)).toEqual(shape);
    expect(shapes.has("pair")).toBe(false);
  },
);

test("input shapes are checked", async () => {
  const probe = (shapes: Record<string, number[]>) => probeShapes(plainDevice(), fixture("vgg"), shapes);
  await expect(probe({ y: [1] })).rejects.toThrow(/inputShapes must name inputs of the model; got "y"/);
  await expect(probe({ x: [1, 3, 16, 16] })).rejects.toThrow(
    /inputShapes\.x must fit \[n, 3, 32, 32\]; got \[1, 3, 16, 16\]/,
  );
  await expect(probe({ x: [3, 32, 32] })).rejects.toThrow(/must fit/);
});
