import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { attachModel } from "../src/onnx/attach.ts";
import { cutStages } from "../src/onnx/cut.ts";
import { changed } from "../src/onnx/graph.ts";
import { describeModel, type Model, readModel, writeModel } from "../src/onnx/model.ts";
import { ModelProtoSchema } from "../src/onnx/onnx_pb.ts";
import { proposeCuts } from "../src/onnx/propose.ts";
import { addTaps } from "../src/onnx/taps.ts";
import { generator } from "../src/random.ts";
import { fixture, randomFeeds, runOnce } from "./onnx-support.ts";

const vector = (name: string, elemType: number, ...sizes: (string | bigint)[]) => ({
  name,
  type: {
    value: {
      case: "tensorType" as const,
      value: {
        elemType,
        shape: {
          dim: sizes.map((size) => ({
            value:
              typeof size === "bigint"
                ? { case: "dimValue" as const, value: size }
                : { case: "dimParam" as const, value: size },
          })),
        },
      },
    },
  },
});

/** A classifier on feature maps [n, c, h, w]: pooled, then linear; scores float32 [n, 10], prediction int64 [n]. */
function head(channels: number, opset = 17n): Model {
  const random = generator(channels);
  const weights = Float32Array.from({ length: channels * 10 }, () => random.normal());
  const proto = create(ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ version: opset }],
    graph: {
      name: "head",
      input: [vector("features", 1, "n", BigInt(channels), "h", "w")],
      output: [vector("scores", 1, "n", 10n), vector("prediction", 7, "n")],
      initializer: [
        { name: "weight", dataType: 1, dims: [BigInt(channels), 10n], rawData: new Uint8Array(weights.buffer) },
      ],
      node: [
        { name: "pool", opType: "GlobalAveragePool", input: ["features"], output: ["pooled"] },
        { opType: "Flatten", input: ["pooled"], output: ["flat"] },
        { opType: "Gemm", input: ["flat", "weight"], output: ["scores"] },
        {
          opType: "ArgMax",
          input: ["scores"],
          output: ["prediction"],
          attribute: [
            { name: "axis", type: 2, i: 1n },
            { name: "keepdims", type: 2, i: 0n },
          ],
        },
      ],
    },
  });
  return readModel(writeModel({ proto }));
}

const tap = "/blocks/blocks.3/Relu_1_output_0";

test("taps give the tensors inside, and the old outputs as before", async () => {
  const model = fixture("resnet20");
  const cuts = proposeCuts(model);
  const tapped = addTaps(model, [...cuts, cuts[0]!, "logits"]);
  expect(describeModel(tapped).outputs.map(({ name }) => name)).toEqual(["logits", ...cuts]);
  const feeds = randomFeeds(model, 2);
  const [plain, withTaps] = [await runOnce(model, feeds, "none"), await runOnce(tapped, feeds, "none")];
  expect(withTaps.logits).toEqual(plain.logits);
  // A stage that ends at the tap makes the same values.
  const [first] = cutStages(model, [cuts[4]!]);
  expect((await runOnce(first!.model, feeds, "none"))[cuts[4]!]).toEqual(withTaps[cuts[4]!]);
  expect(addTaps(model, ["logits"])).toBe(model);
  expect(() => addTaps(model, ["logit"])).toThrow(/core-gpu\.addTaps: .*got "logit"\. Did you mean "logits"/);
});

test("inputs, weights and tensors of other types can be tapped", async () => {
  const model = addTaps(fixture("types"), ["x", "bias", "size"]);
  const feeds = randomFeeds(model, 2);
  const results = await runOnce(model, feeds);
  expect(results.x).toEqual(feeds.x);
  expect(results.bias!.shape).toEqual([4]);
  expect(results.size!.data).toEqual(BigInt64Array.of(2n, 8n));
});

test("a head that is attached computes what it computes in a session of its own", async () => {
  const network = fixture("resnet20");
  const part = head(8);
  const { model, outputs } = attachModel(network, part, { prefix: "exit0", inputs: { features: tap } });
  expect(outputs).toEqual({ scores: "exit0/scores", prediction: "exit0/prediction" });
  expect(describeModel(model).outputs).toEqual(describeModel(network).outputs);
  const feeds = randomFeeds(network, 5);
  for (const optimization of ["none", "all"] as const) {
    const together = await runOnce(addTaps(model, [tap, ...Object.values(outputs)]), feeds, optimization);
    const apart = await runOnce(part, { features: together[tap]! }, optimization);
    expect(together["exit0/scores"]).toEqual(apart.scores);
    expect(together["exit0/prediction"]).toEqual(apart.prediction);
    expect(together["exit0/prediction"]!.dtype).toBe("int64");
  }
  expect((await runOnce(model, feeds, "none")).logits).toEqual((await runOnce(network, feeds, "none")).logits);
  // A valid file that our own reader takes.
  expect(describeModel(readModel(writeModel(model)))).toEqual(describeModel(model));
});

test("a network with heads is cut into stages that hold them", async () => {
  const network = fixture("resnet20");
  const taps = [proposeCuts(network)[2]!, proposeCuts(network)[6]!];
  let model: Model = network;
  const heads = taps.map((features, at) => {
    const attached = attachModel(model, head([4, 8][at]!), { prefix: `exit${at}`, inputs: { features } });
    model = addTaps(attached.model, Object.values(attached.outputs));
    return Object.values(attached.outputs);
  });
  const stages = cutStages(
    model,
    taps.map((features, at) => [features, ...heads[at]!]),
  );
  expect(stages.map(({ inputs, outputs }) => [inputs, outputs])).toEqual([
    [["x"], [taps[0], ...heads[0]!]],
    [[taps[0]], [taps[1], ...heads[1]!]],
    [[taps[1]], ["logits"]],
  ]);
  const values = randomFeeds(network, 3);
  const whole = await runOnce(model, values, "none");
  for (const stage of stages) {
    Object.assign(
      values,
      await runOnce(stage.model, Object.fromEntries(stage.inputs.map((name) => [name, values[name]!])), "none"),
    );
  }
  for (const [name, value] of Object.entries(whole)) expect(values[name]).toEqual(value);
});

test("bodies of If and Loop are renamed along, and names that are taken made unique", async () => {
  const network = fixture("unknown-fields");
  const part = fixture("control-flow");
  const once = attachModel(network, part, { prefix: "p", inputs: { x: "a" } });
  const twice = attachModel(once.model, part, { prefix: "p", inputs: { x: once.outputs.y! } });
  expect(once.outputs).toEqual({ y: "p/y" });
  expect(twice.outputs).toEqual({ y: "p/y_2" });
  const feeds = randomFeeds(network, 3);
  const together = await runOnce(addTaps(twice.model, ["a", "p/y", "p/y_2"]), feeds, "none");
  const first = await runOnce(part, { x: together.a! }, "none");
  expect(together["p/y"]).toEqual(first.y);
  expect(together["p/y_2"]).toEqual((await runOnce(part, { x: first.y! }, "none")).y);
  // What the schema does not know is still there.
  expect(Buffer.from(writeModel(twice.model)).toString("latin1")).toContain("in the graph");
});

test("neither model is changed", () => {
  const [network, part] = [fixture("resnet20"), head(8)];
  const before = [writeModel(network), writeModel(part)];
  attachModel(network, part, { prefix: "exit0", inputs: { features: tap } });
  expect([writeModel(network), writeModel(part)]).toEqual(before);
});

test.each<[string, () => unknown, RegExp]>([
  ["an empty prefix", () => attach({ prefix: "" }), /prefix must not be empty/],
  [
    "an input that is not wired",
    () => attach({ inputs: {} }),
    /every input of the part must be wired; got none for "features"/,
  ],
  [
    "an input the part does not have",
    () => attach({ inputs: { feature: tap } }),
    /got "feature"\. Did you mean "features"/,
  ],
  [
    "an unknown tensor",
    () => attach({ inputs: { features: `${tap}0` } }),
    /must read a tensor of the model; got .*Did you mean/,
  ],
  [
    "another element type",
    () => attachModel(fixture("types"), head(8), { prefix: "p", inputs: { features: "size" } }),
    /must read a float32 tensor; got "size", which is int64/,
  ],
  [
    "a sequence",
    () => attachModel(fixture("types"), head(8), { prefix: "p", inputs: { features: "pair" } }),
    /got "pair", which is no tensor/,
  ],
  [
    "another operator set",
    () => attach({}, head(8, 18n)),
    /must use operator set "ai\.onnx" 17, as the model does; got 18/,
  ],
])("%s is refused", (_, call, message) => {
  expect(call).toThrow(message);
});

function attach(wiring: { prefix?: string; inputs?: Record<string, string> }, part = head(8)) {
  return attachModel(fixture("resnet20"), part, { prefix: "p", inputs: { features: tap }, ...wiring });
}

test("a set of operators that only the part uses is added; functions of one name are refused", () => {
  const part = head(8);
  const own = { domain: "my.own", name: "Double" };
  const withFunction = (model: Model): Model => ({
    proto: changed(model.proto, {
      opsetImport: [
        ...model.proto.opsetImport,
        ...create(ModelProtoSchema, { opsetImport: [{ domain: "my.own", version: 1n }] }).opsetImport,
      ],
      functions: create(ModelProtoSchema, { functions: [own] }).functions,
    }),
  });
  const wiring = { prefix: "p", inputs: { features: tap } };
  const { model } = attachModel(fixture("resnet20"), withFunction(part), wiring);
  expect(model.proto.opsetImport.map(({ domain }) => domain)).toEqual(["", "my.own"]);
  expect(model.proto.functions.map(({ name }) => name)).toEqual(["Double"]);
  expect(() => attachModel(model, withFunction(part), wiring)).toThrow(
    /functions of both must have different names; got "Double"/,
  );
});
