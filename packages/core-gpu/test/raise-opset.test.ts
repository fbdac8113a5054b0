import { readFileSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { describeModel, ops, programToModel, raiseOpset, readModel, spec, trace, writeModel } from "../src/index.ts";
import { changed } from "../src/onnx/graph.ts";
import { AttributeProtoSchema, FunctionProtoSchema, GraphProtoSchema, NodeProtoSchema } from "../src/onnx/onnx_pb.ts";
import { facts, fixture, networks, randomFeeds, runOnce } from "./onnx-support.ts";

/** What a later set writes otherwise or reads otherwise; the other changed operators took more types or options. */
const WRITTEN = ["Max", "Mean", "Min", "Prod", "SumSquare", "L1", "L2", "LogSum", "LogSumExp"].map(
  (name) => `Reduce${name}`,
);
const REFUSED = ["AveragePool", "BatchNormalization", "DFT", "GridSample", "GroupNormalization", "RoiAlign"];
/** Looked at one by one in the standard: the same meaning in each of their versions from 13 to 23. */
const SAME =
  "Acos Acosh Add Asin Asinh Atan Atanh Bernoulli Cast CastLike Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DeformConv DequantizeLinear Det Div Dropout Elu Equal EyeLike Flatten GRU GlobalAveragePool GlobalLpPool GlobalMaxPool GreaterOrEqual HardSigmoid HardSwish Identity If InstanceNormalization IsInf IsNaN LSTM LeakyRelu LessOrEqual Loop LpNormalization LpPool MaxPool MaxRoiPool MaxUnpool Mish Mul Multinomial NegativeLogLikelihoodLoss OptionalGetElement OptionalHasElement PRelu Pad Pow QLinearMatMul QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Relu Reshape Resize Round Scan ScatterElements ScatterND Selu Shape Sin Sinh Size Softplus Softsign Squeeze Sub Tan ThresholdedRelu Transpose Unsqueeze Where".split(
    " ",
  );

/** A graph of one node; never run. */
function single(
  opType: string,
  own: number,
  attribute: Parameters<typeof create<typeof AttributeProtoSchema>>[1][] = [],
  outputs = ["y"],
) {
  const model = programToModel(
    trace(({ x }) => ({ y: ops.relu(x) }), { x: spec("float32", [1, 2, 4, 4]) }),
    { opset: own },
  );
  const node = create(NodeProtoSchema, {
    name: "it",
    opType,
    input: ["x"],
    output: outputs,
    attribute: attribute.map((each) => create(AttributeProtoSchema, each)),
  });
  return { proto: changed(model.proto, { graph: changed(model.proto.graph!, { node: [node] }) }) };
}

const distance = (a: ArrayLike<unknown>, b: ArrayLike<unknown>) =>
  Math.max(...Array.from(a, (value, i) => Math.abs(Number(value) - Number(b[i]))));

describe("raiseOpset", () => {
  it("knows every operator that the standard changed from 14 to 23", () => {
    const golden = JSON.parse(readFileSync(new URL("../fixtures/opsets.json", import.meta.url), "utf8"));
    expect(Object.keys(golden.changed).sort()).toEqual([...SAME, ...WRITTEN, ...REFUSED, "Split"].sort());
  });

  it.each(networks)("%s answers the same", async (name) => {
    const model = fixture(name);
    const { opset } = facts()[name]!;
    const feeds = randomFeeds(model, 3);
    const before = await runOnce(model, feeds, "none");
    for (const to of [21, 23]) {
      const raised = raiseOpset(model, to);
      expect(describeModel(raised).opset).toBe(to);
      const after = await runOnce(readModel(writeModel(raised)), feeds, "none");
      for (const [output, { data }] of Object.entries(before)) {
        // The runtime's average pool of a later set sums in another order.
        if (name === "densenet") expect(distance(after[output]!.data, data)).toBeLessThan(1e-6);
        else expect(after[output]!.data).toEqual(data);
      }
    }
    expect(raiseOpset(model, opset)).toBe(model);
  });

  it("reductions get their axes as inputs, Split its number of parts", async () => {
    const program = trace(
      ({ x }) => {
        const [a, b] = ops.split(x, [2, 2], 1);
        return {
          most: ops.max(x, { axes: [1, 2] }),
          least: ops.min(x, { axes: [2], keepDimensions: true }),
          product: ops.prod(a!, { axes: [-1] }),
          squares: ops.sumSquares(b!, { axes: [1] }),
          soft: ops.logSumExp(x, { axes: [1] }),
          mean: ops.mean(x),
        };
      },
      { x: spec("float32", [2, 4, 3]) },
    );
    const model = programToModel(program, { opset: 13 });
    const feeds = randomFeeds(model, 2);
    const before = await runOnce(model, feeds, "none");
    expect(await runOnce(raiseOpset(model, 18), feeds, "none")).toEqual(before);
    expect(await runOnce(raiseOpset(raiseOpset(model, 17), 22), feeds, "none")).toEqual(before);
    const parts = single("Split", 17, [], ["a", "b"]);
    expect(raiseOpset(parts, 18).proto.graph!.node[0]!.attribute[0]).toMatchObject({ name: "num_outputs", i: 2n });
  });

  it("goes into the bodies of If, Loop and Scan", () => {
    const inner = single("ReduceMean", 13, [{ name: "axes", type: 7, ints: [1n] }]).proto.graph!;
    const body = create(GraphProtoSchema, { name: "body", node: inner.node, output: inner.output });
    const model = single("If", 13, [{ name: "then_branch", type: 5, g: body }]);
    const made = raiseOpset(model, 18).proto.graph!.node[0]!.attribute[0]!.g!;
    expect(made.node[0]!.attribute).toEqual([]);
    expect(made.initializer.map(({ name }) => name)).toEqual([made.node[0]!.input[1]]);
  });

  it("refuses what means something else there", () => {
    const raise = (model: ReturnType<typeof single>, to = 23) => expect(() => raiseOpset(model, to));
    raise(single("GroupNormalization", 18)).toThrow(
      /GroupNormalization "it", which scales channels instead of groups from 21 on/,
    );
    raise(single("GroupNormalization", 18), 20).not.toThrow();
    raise(single("GridSample", 16)).toThrow(/from 20 on/);
    raise(single("DFT", 17)).toThrow(/from 20 on/);
    raise(single("RoiAlign", 13)).toThrow(/from 16 on/);
    raise(single("RoiAlign", 13, [{ name: "coordinate_transformation_mode", type: 3 }])).not.toThrow();
    raise(single("AveragePool", 13, [{ name: "ceil_mode", type: 2, i: 1n }])).toThrow(/from 19 on/);
    raise(single("AveragePool", 13)).not.toThrow();
    raise(single("BatchNormalization", 13, [], ["y", "mean"])).toThrow(/from 14 on/);
    const model = single("Relu", 17);
    raise(model, 24).toThrow(/from and to 13 … 23; got 17 to 24/);
    raise(model, 16).toThrow(/got 17 to 16/);
    raise(model, 17.5).toThrow(/got 17 to 17.5/);
    raise(single("Relu", 11)).toThrow(/got 11 to 23/);
    const functions = [create(FunctionProtoSchema, { name: "Own" })];
    raise({ proto: changed(model.proto, { functions }) }).toThrow(/no functions of its own; got "Own"/);
  });
});
