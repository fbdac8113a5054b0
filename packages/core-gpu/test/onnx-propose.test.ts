import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { cutStages } from "../src/onnx/cut.ts";
import { changed } from "../src/onnx/graph.ts";
import type { Model } from "../src/onnx/model.ts";
import { GraphProtoSchema, ModelProtoSchema, NodeProtoSchema, TensorProtoSchema } from "../src/onnx/onnx_pb.ts";
import { proposeCuts } from "../src/onnx/propose.ts";
import { addTaps } from "../src/onnx/taps.ts";
import { fixture, networks } from "./onnx-support.ts";

const blocks = (count: number) =>
  Array.from({ length: count }, (_, block) => `/blocks/blocks.${block}/Relu_1_output_0`);

const expected: Record<(typeof networks)[number], readonly string[]> = {
  resnet20: ["/Relu_output_0", ...blocks(9)],
  resnet56: ["/Relu_output_0", ...blocks(27)],
  // Each convolution with its activation, and its pooling where it has one; the fully connected tail is left out.
  vgg: [
    "/features/features.1/Relu_output_0",
    "/features/features.4/MaxPool_output_0",
    "/features/features.6/Relu_output_0",
    "/features/features.9/MaxPool_output_0",
    "/features/features.12/MaxPool_output_0",
  ],
  // Stem, first dense block with the transition's activation, transition, second dense block with the last activation.
  densenet: [
    "/stem/Conv_output_0",
    "/transitions.0/transitions.0.1/Relu_output_0",
    "/transitions.0/transitions.0.3/AveragePool_output_0",
    "/Relu_output_0",
  ],
  // Blocks 0, 2 and 3 have shortcuts; block 1 (stride 2) is a plain chain of three layers.
  mobilenet: [
    "/stem/stem.2/Clip_output_0",
    "/blocks/blocks.0/Add_output_0",
    "/blocks/blocks.1/body/body.2/Clip_output_0",
    "/blocks/blocks.1/body/body.5/Clip_output_0",
    "/blocks/blocks.1/body/body.6/Conv_output_0",
    "/blocks/blocks.2/Add_output_0",
    "/blocks/blocks.3/Add_output_0",
  ],
  // Patches with positions, then after attention and after the feed-forward part of each of three layers.
  transformer: ["add_13", "add_107", "add_128", "add_222", "add_243", "add_337", "layer_norm_6"],
  // The second input stays needed until the concatenation.
  "two-inputs": ["/Concat_output_0", "/Relu_1_output_0"],
};

test.each(networks)("%s: the tensor after each block is proposed", (name) => {
  expect(proposeCuts(fixture(name))).toEqual(expected[name]);
});

test.each(networks)("%s: proposals are cuts in order, each crossed by that tensor alone", (name) => {
  const model = fixture(name);
  const cuts = proposeCuts(model);
  const stages = cutStages(model, cuts);
  expect(stages.slice(1).map(({ inputs }) => inputs)).toEqual(cuts.map((cut) => [cut]));
});

test.each(networks)("%s: the separators are those that brute force finds", (name) => {
  const model = fixture(name);
  const separators = bruteForceSeparators(model);
  for (const cut of proposeCuts(model)) expect(separators).toContain(cut);
});

/** Tensors without which no output can be reached from any input: by removing each in turn. */
function bruteForceSeparators(model: Model): string[] {
  const { node, input, initializer } = model.proto.graph!;
  const weights = new Set(initializer.map(({ name }) => name));
  const reached = (without: string) => {
    const on = new Set(input.map(({ name }) => name).filter((name) => !weights.has(name)));
    for (const { input: reads, output } of node) {
      if (reads.some((name) => on.has(name))) for (const name of output) if (name !== without) on.add(name);
    }
    return on;
  };
  return node.flatMap(({ output }) => output).filter((name) => !reached(name).has("logits"));
}

test("a plain chain of matrix products is cut after each activation but the last layer", () => {
  const weight = (name: string) =>
    create(TensorProtoSchema, { name, dataType: 1, dims: [4n, 4n], rawData: new Uint8Array(64) });
  const node = (opType: string, input: string[], output: string[]) =>
    create(NodeProtoSchema, { opType, input, output });
  const model = (nodes: ReturnType<typeof node>[]): Model => ({
    proto: create(ModelProtoSchema, {
      graph: create(GraphProtoSchema, {
        node: nodes,
        input: [{ name: "x" }],
        output: [{ name: "y" }],
        initializer: ["a", "b", "c"].map(weight),
      }),
    }),
  });
  const chain = model([
    node("Gemm", ["x", "a"], ["1"]),
    node("Relu", ["1"], ["2"]),
    node("Gemm", ["2", "b"], ["3"]),
    node("Relu", ["3"], ["4"]),
    node("Gemm", ["4", "c"], ["y"]),
  ]);
  expect(proposeCuts(chain)).toEqual(["2", "4"]);
  expect(proposeCuts(model([node("Gemm", ["x", "a"], ["y"])]))).toEqual([]);
  expect(proposeCuts(model([node("Relu", ["x"], ["y"])]))).toEqual([]);
});

test("taps hide what comes after them unless the outputs are named", () => {
  const model = fixture("resnet20");
  const tapped = addTaps(model, [blocks(9)[3]!]);
  expect(proposeCuts(tapped).length).toBeLessThan(10);
  expect(proposeCuts(tapped, { outputs: ["logits"] })).toEqual(proposeCuts(model));
  expect(() => proposeCuts(tapped, { outputs: ["logit"] })).toThrow(
    /outputs of the model; got "logit"\. Did you mean "logits"/,
  );
  expect(() => proposeCuts(tapped, { output: [] } as object)).toThrow(/unknown option "output"/);
});

test("paths that only carry shapes do not count", () => {
  const model = fixture("vgg");
  const { graph } = model.proto;
  // The last layer's input is reshaped to the batch size of the graph's input, as exporters write it.
  const nodes = graph!.node.map((node) =>
    node.opType === "Flatten"
      ? changed(node, { opType: "Reshape", input: [node.input[0]!, "wanted"], attribute: [] })
      : node,
  );
  const shape = [
    create(NodeProtoSchema, { opType: "Shape", input: ["x"], output: ["whole"] }),
    create(NodeProtoSchema, { opType: "Slice", input: ["whole", "zero", "one"], output: ["batch"] }),
    create(NodeProtoSchema, { opType: "Concat", input: ["batch", "rest"], output: ["wanted"] }),
  ];
  const constants = ["zero", "one", "rest"].map((name) =>
    create(TensorProtoSchema, { name, dataType: 7, dims: [1n], int64Data: [0n] }),
  );
  const reshaped = changed(graph!, { node: [...shape, ...nodes], initializer: [...graph!.initializer, ...constants] });
  expect(proposeCuts({ proto: changed(model.proto, { graph: reshaped }) })).toEqual(expected.vgg);
});
