import { expect, test } from "vitest";
import { cutStages, type Stage } from "../src/onnx/cut.ts";
import { indexModel } from "../src/onnx/graph.ts";
import { describeModel, type Model, readModel, writeModel } from "../src/onnx/model.ts";
import { proposeCuts } from "../src/onnx/propose.ts";
import { addTaps } from "../src/onnx/taps.ts";
import { generator } from "../src/random.ts";
import { rows, type Tensor } from "../src/tensor.ts";
import { fixture, networks, randomFeeds, runOnce } from "./onnx-support.ts";

type Cuts = readonly (string | readonly string[])[];
type Values = Record<string, Tensor>;

/** Runs stages one after another, each fed with nothing but what it declares. */
async function runStages(
  stages: readonly Stage[],
  feeds: Readonly<Values>,
  optimization: "none" | "all" = "all",
): Promise<Values> {
  const values: Values = { ...feeds };
  for (const { model, inputs, outputs } of stages) {
    // What is written is a valid file that our own reader takes.
    expect(describeModel(readModel(writeModel(model))).inputs.map(({ name }) => name)).toEqual(inputs);
    const results = await runOnce(model, Object.fromEntries(inputs.map((name) => [name, values[name]!])), optimization);
    expect(Object.keys(results)).toEqual(outputs);
    Object.assign(values, results);
  }
  return values;
}

function largestDifference(a: Tensor, b: Tensor): number {
  expect(a.shape).toEqual(b.shape);
  expect(a.dtype).toBe(b.dtype);
  return Math.max(
    0,
    ...Array.from(a.data as Float32Array, (value, at) => Math.abs(Number(value) - Number(b.data[at]))),
  );
}

async function expectSame(model: Model, cuts: Cuts, n = 3): Promise<readonly Stage[]> {
  const stages = cutStages(model, cuts);
  expect(stages.length).toBe(cuts.length + 1);
  const feeds = randomFeeds(model, n);
  // Node by node, stages do exactly what the whole does: bit for bit. ONNX Runtime fuses across what is a cut here, so
  // that optimised sums may be rounded in another order.
  for (const [optimization, tolerance] of [["none", 0] as const, ["all", 2e-6] as const]) {
    const plain = await runOnce(model, feeds, optimization);
    const staged = await runStages(stages, feeds, optimization);
    for (const name of indexModel("test", model).outputs) {
      const size = Math.max(...Array.from(plain[name]!.data as Float32Array, Math.abs));
      expect(size).toBeGreaterThan(1e-3);
      expect(largestDifference(staged[name]!, plain[name]!) / size).toBeLessThanOrEqual(tolerance);
    }
  }
  return stages;
}

const dataTensors = (model: Model) => {
  const index = indexModel("test", model);
  return [...index.producer].filter(([, node]) => index.kinds[node] === "data").map(([name]) => name);
};

test.each(networks)(
  "%s: cut at the proposals, and at a few of them, the stages compute the plain outputs",
  async (name) => {
    const model = fixture(name);
    const cuts = proposeCuts(model);
    const stages = await expectSame(model, name === "resnet56" ? cuts.filter((_, at) => at % 9 === 4) : cuts);
    // A proposal alone crosses its cut.
    for (const stage of stages.slice(1)) expect(stage.inputs.length).toBe(1);
    await expectSame(model, [cuts[Math.floor(cuts.length / 2)]!], 1);
  },
);

test.each(networks.filter((name) => name !== "resnet56"))(
  "%s: cut at any three tensors, stages compute the plain outputs",
  async (name) => {
    const model = fixture(name);
    const random = generator(11);
    const names = dataTensors(model).slice(0, -1);
    for (let round = 0; round < 4; round++) {
      const places = [...new Set([1, 2, 3].map(() => random.integer(names.length)))].sort((a, b) => a - b);
      const cuts = places.map((at) => names[at]!);
      const order = orderThatWorks(model, cuts);
      await expectSame(model, order);
    }
  },
);

/** Leaves out cuts that an earlier one already contains (a sibling made on the way). */
function orderThatWorks(model: Model, cuts: readonly string[]): string[] {
  return cuts.filter((_, at) => {
    try {
      cutStages(model, cuts.slice(0, at + 1));
      return true;
    } catch {
      return false;
    }
  });
}

test("skip connections cross cuts inside residual blocks, over several stages", async () => {
  const model = fixture("resnet20");
  // Three cuts within block 4, whose shortcut reads the block's input: after its first convolution, that one's
  // activation, and its second convolution.
  const nodes = model.proto.graph!.node;
  const inside = nodes
    .filter(({ name, opType }) => name.startsWith("/blocks/blocks.4/") && (opType === "Conv" || opType === "Relu"))
    .map(({ output }) => output[0]!)
    .slice(0, 3);
  const stages = await expectSame(model, inside);
  const skip = "/blocks/blocks.3/Relu_1_output_0";
  expect(stages[0]!.outputs).toEqual([inside[0], skip]);
  expect(stages[1]!.inputs).toEqual([inside[0]]);
  expect(stages[2]!.inputs).toEqual([inside[1]]);
  // The second convolution's stage does not need the skip; the last one does, two stages after it was made.
  expect(stages[3]!.inputs).toEqual([skip, inside[2]]);
});

test("a cut of several tensors holds them all, in the order given", async () => {
  const model = fixture("densenet");
  const [a, b] = ["/layers.0/layers.0.2/Conv_output_0", "/layers.1/layers.1.2/Conv_output_0"];
  const [first] = await expectSame(model, [[b, a], "/Relu_output_0"]);
  expect(first!.outputs).toEqual([b, a, "/stem/Conv_output_0"]);
});

test("graph inputs reach every stage that reads them", async () => {
  const model = fixture("two-inputs");
  const index = indexModel("test", model);
  const first = dataTensors(model)[0]!;
  const relu = index.graph.node.find(({ opType }) => opType === "Relu")!.output[0]!;
  const stages = await expectSame(model, [first, relu]);
  expect(stages.map(({ inputs }) => inputs)).toEqual([["image"], ["mask", first], ["mask", relu]]);
});

test("what the bodies of If and Loop capture crosses the cut", async () => {
  const model = fixture("control-flow");
  const stages = await expectSame(model, ["h", "high", "branched"]);
  expect(stages.map(({ inputs }) => inputs)).toEqual([["x"], ["h"], ["x", "h", "high"], ["h", "branched"]]);
  // The constant that a branch captures and the weight that the loop's body captures went along.
  expect(stages[2]!.model.proto.graph!.node.map(({ opType }) => opType)).toEqual(["Constant", "If"]);
  expect(stages[3]!.model.proto.graph!.initializer.map(({ name }) => name)).toEqual(["w2", "rounds"]);
});

test("weights go only to the stages that read them, and are shared, not copied", () => {
  const model = fixture("resnet20");
  const stages = cutStages(model, proposeCuts(model));
  const all = stages.flatMap((stage) => stage.model.proto.graph!.initializer);
  const floats = all.filter(({ rawData }) => rawData.length > 64);
  expect(new Set(floats).size).toBe(floats.length);
  for (const weight of all) expect(model.proto.graph!.initializer).toContain(weight);
});

test("shape arithmetic is done anew in each stage, so that a batch may shrink between stages", async () => {
  const model = fixture("types");
  const [, last] = cutStages(model, ["s"]);
  expect(last!.inputs).toEqual(["x", "s"]);
  expect(last!.outputs).toEqual(["y", "size"]);
  const feeds = randomFeeds(model, 3);
  const whole = await runStages(cutStages(model, ["s"]), feeds);
  expect(whole.size!.data).toEqual(BigInt64Array.of(3n, 8n));
  const twoRows = await runOnce(last!.model, { x: rows(feeds.x!, 0, 2), s: rows(whole.s!, 0, 2) });
  expect(twoRows.size!.data).toEqual(BigInt64Array.of(2n, 8n));
});

test("taps at tensors that are no outputs give outputs of stages", async () => {
  const model = fixture("vgg");
  const cuts = proposeCuts(model);
  const tapped = addTaps(model, ["/features/features.0/Conv_output_0"]);
  const stages = await expectSame(tapped, [cuts[1]!, cuts[3]!]);
  expect(stages.map(({ outputs }) => outputs)).toEqual([
    [cuts[1], "/features/features.0/Conv_output_0"],
    [cuts[3]],
    ["logits"],
  ]);
});

test("without cuts the only stage is the whole network", async () => {
  const [stage] = await expectSame(fixture("mobilenet"), []);
  expect(stage!.inputs).toEqual(["x"]);
  expect(stage!.outputs).toEqual(["logits"]);
});

test("the model that was cut is unchanged", () => {
  const before = writeModel(fixture("resnet20"));
  const model = fixture("resnet20");
  cutStages(model, proposeCuts(model));
  addTaps(model, proposeCuts(model));
  expect(writeModel(model)).toEqual(before);
});

test.each<[string, string, Cuts, RegExp]>([
  [
    "an unknown tensor",
    "vgg",
    ["/features/features.4/MaxPol_output_0"],
    /got "\/features.*MaxPol_output_0"\. Did you mean "\/features\/features.4\/MaxPool_output_0"/,
  ],
  ["a graph input", "vgg", ["x"], /cutStages: cut 0 must be .*; got the graph input "x"/],
  ["an initializer", "vgg", ["features.0.weight"], /the initializer "features\.0\.weight"/],
  ["a constant", "mobilenet", ["/stem/stem.2/Constant_output_0"], /follows from constants only/],
  ["a shape", "types", ["size"], /follows from shapes only/],
  [
    "cuts out of order",
    "vgg",
    ["/features/features.4/MaxPool_output_0", "/features/features.1/Relu_output_0"],
    /cut 1 must come after cut 0; got "\/features\/features\.1\/Relu_output_0", which stage 0 makes/,
  ],
  [
    "a cut twice",
    "vgg",
    ["/features/features.1/Relu_output_0", "/features/features.1/Relu_output_0"],
    /may be cut once; got .* twice/,
  ],
  ["a last stage without work", "vgg", ["logits"], /every stage must have work to do; got no node after "logits"/],
  ["an empty cut", "vgg", [[]], /must name a tensor; got none in cut 0/],
  ["a sequence", "types", ["pair"], /must be a tensor of known type; got "pair"/],
])("%s is refused", (_, name, cuts, message) => {
  expect(() => cutStages(fixture(name), cuts)).toThrow(message);
});

test("a tensor that no output needs is refused", () => {
  const model = addTaps(fixture("vgg"), ["/features/features.1/Relu_output_0"]);
  const { graph } = model.proto;
  const early = readModel(
    writeModel({ proto: { ...model.proto, graph: { ...graph!, output: graph!.output.slice(1) } } }),
  );
  expect(() => cutStages(early, ["/features/features.3/Relu_output_0"])).toThrow(/which none needs/);
});
