import {
  type Device,
  type Generator,
  generator,
  type Model,
  onnx,
  sizeOf,
  type Tensor,
  tensor,
} from "@exitkit/core-gpu";
import fc from "fast-check";
import { defineExits, type Exit, type ExitModel, NEVER } from "../src/index.ts";

const { DataType, AttributeType } = onnx;

/** Writes an ONNX graph node by node. */
export class GraphWriter {
  readonly nodes: onnx.NodeProto[] = [];
  readonly weights: onnx.TensorProto[] = [];

  node(
    opType: string,
    input: string[],
    output: string,
    attributes: Record<string, number | number[] | onnx.GraphProto> = {},
  ) {
    const attribute = Object.entries(attributes).map(([name, value]) =>
      onnx.create(
        onnx.AttributeProtoSchema,
        typeof value === "number"
          ? { name, type: AttributeType.INT, i: BigInt(value) }
          : Array.isArray(value)
            ? { name, type: AttributeType.INTS, ints: value.map(BigInt) }
            : { name, type: AttributeType.GRAPH, g: value },
      ),
    );
    this.nodes.push(onnx.create(onnx.NodeProtoSchema, { opType, input, output: output.split(" "), attribute }));
    return output.split(" ")[0]!;
  }

  floats(name: string, dims: readonly number[], value: () => number): string {
    const floatData = Array.from({ length: sizeOf(dims) }, value);
    this.weights.push(
      onnx.create(onnx.TensorProtoSchema, { name, dataType: DataType.FLOAT, dims: dims.map(BigInt), floatData }),
    );
    return name;
  }

  ints(name: string, values: readonly number[], dims: readonly number[] = [values.length]): string {
    const int64Data = values.map(BigInt);
    this.weights.push(
      onnx.create(onnx.TensorProtoSchema, { name, dataType: DataType.INT64, dims: dims.map(BigInt), int64Data }),
    );
    return name;
  }

  model(input: onnx.ValueInfoProto[], outputs: string[], opset: number): Model {
    const graph = onnx.create(onnx.GraphProtoSchema, {
      name: "network",
      node: this.nodes,
      initializer: this.weights,
      input,
      output: outputs.map((name) => onnx.create(onnx.ValueInfoProtoSchema, { name })),
    });
    const irVersion = opset < 15 ? 7n : opset < 19 ? 8n : opset < 21 ? 9n : opset < 23 ? 10n : 11n;
    const opsetImport = [{ domain: "", version: BigInt(opset) }];
    return { proto: onnx.create(onnx.ModelProtoSchema, { irVersion, opsetImport, graph }) };
  }
}

export function value(
  name: string,
  dims: readonly (number | string)[],
  elemType: number = DataType.FLOAT,
): onnx.ValueInfoProto {
  const dim = dims.map((size) => ({
    value:
      typeof size === "number"
        ? { case: "dimValue" as const, value: BigInt(size) }
        : { case: "dimParam" as const, value: size },
  }));
  return onnx.create(onnx.ValueInfoProtoSchema, {
    name,
    type: { value: { case: "tensorType", value: { elemType, shape: { dim } } } },
  });
}

export interface NetworkOptions {
  readonly exits?: number;
  readonly seed?: number;
  readonly opset?: number;
  readonly batch?: number | string;
  readonly channels?: number;
  readonly size?: number;
  /** Names that clash once graphs are nested: weights and constants used by all stages, a tensor called thresholds. */
  readonly awkward?: boolean;
}

/**
 * A convolutional network with residual blocks, an exit behind each: seeded random weights. Each block also reads what
 * the block two before made, and the input itself, so that tensors cross several stages.
 */
export function residualNetwork(options: NetworkOptions = {}): ExitModel {
  const { exits = 3, seed = 1, opset = 17, batch = "n", channels = 8, size = 6, awkward = true } = options;
  const random: Generator = generator(seed);
  const graph = new GraphWriter();
  const weights = (name: string, dims: readonly number[], fanIn: number) =>
    graph.floats(name, dims, () => random.normal() * Math.sqrt(2 / fanIn));
  const convolve = (name: string, from: string, inputs: number) => {
    const weight = weights(`${name}/weight`, [channels, inputs, 3, 3], inputs * 9);
    return graph.node("Conv", [from, weight, weights(`${name}/bias`, [channels], 200)], name, { pads: [1, 1, 1, 1] });
  };
  graph.ints("one", [1]);
  graph.ints("flat", [-1]);
  const shared = awkward ? graph.floats("shared/scale", [1], () => 0.9) : undefined;
  if (awkward) graph.node("Relu", ["shared/scale"], "shared/constant");
  const taps = [graph.node("Relu", [convolve("stem", "x", 3)], awkward ? "thresholds" : "stem/relu")];
  const answers: Exit[] = [];
  for (let j = 0; j < exits; j++) {
    const block = `block${j}`;
    let y = convolve(`${block}/conv`, taps[j]!, channels);
    if (shared !== undefined) y = graph.node("Mul", [y, "shared/constant"], `${block}/scaled`);
    y = graph.node("Add", [y, taps[Math.max(0, j - 1)]!], `${block}/sum`);
    if (awkward && j > 0) y = graph.node("Add", [y, convolve(`${block}/input`, "x", 3)], `${block}/more`);
    taps.push(graph.node("Relu", [y], `${block}/out`));
    answers.push(head(graph, `exit${j}`, taps[j + 1]!, channels, random));
  }
  return defineExits(graph.model([value("x", [batch, 3, size, size])], [`exit${exits - 1}/scores`], opset), answers);
}

export function head(graph: GraphWriter, name: string, tap: string, channels: number, random: Generator, k = 5): Exit {
  const pooled = graph.node("GlobalAveragePool", [tap], `${name}/pooled`);
  const features = graph.node("Flatten", [pooled], `${name}/features`);
  return scoresToExit(
    graph,
    name,
    tap,
    graph.node(
      "MatMul",
      [features, graph.floats(`${name}/weight`, [channels, k], () => random.normal() / 2)],
      `${name}/scores`,
    ),
  );
}

/** Confidence and prediction from scores `[n, k]`, with operators that are the same from operator set 11 on. */
export function scoresToExit(graph: GraphWriter, name: string, tap: string, scores: string): Exit {
  const p = graph.node("Softmax", [scores], `${name}/p`, { axis: 1 });
  const top = graph.node("TopK", [p, "one"], `${name}/top ${name}/index`);
  const confidence = graph.node("Reshape", [top, "flat"], `${name}/confidence`);
  const prediction = graph.node("Reshape", [`${name}/index`, "flat"], `${name}/prediction`);
  return { name, tap, confidence, prediction, scores };
}

/** Samples of very different contrast, so that a network is surer of some than of others. */
export function randomBatch(n: number, shape: readonly number[] = [3, 6, 6], seed = 7): Tensor<"float32"> {
  const random = generator(seed);
  const width = sizeOf(shape);
  const batch = tensor("float32", [n, ...shape]);
  for (let row = 0; row < n; row++) {
    const contrast = Math.exp(1.5 * random.normal() - 1);
    for (let at = 0; at < width; at++) batch.data[row * width + at] = contrast * random.normal();
  }
  return batch;
}

/** A device that counts the sessions it has open. */
export function counting(device: Device): Device & { readonly open: () => number } {
  let count = 0;
  return {
    ...device,
    open: () => count,
    load: async (model, options) => {
      const session = await device.load(model, options);
      count++;
      let released = false;
      const release = async () => {
        if (!released) count--;
        released = true;
        await session.release();
      };
      return { ...session, release };
    },
  };
}

/** Thresholds at quantiles of each early exit's confidences, n of them in a row, away from the last places of every one. */
export function thresholdsBeside(confidences: readonly Float32Array[], quantiles: readonly number[]): number[] {
  return confidences.slice(0, -1).map((row, j) => {
    const sorted = [...row].sort((a, b) => a - b);
    // Just beside a confidence there may be another; 1e-5 keeps the last places out of it.
    const threshold = sorted[Math.floor(quantiles[j]! * (row.length - 1))]! + 1e-5;
    return sorted.some((c) => Math.abs(c - threshold) < 5e-6) ? NEVER : threshold;
  });
}

/** Networks, batches and thresholds to try laws of staged execution on. */
export const stagedCases = (most: number) =>
  fc.record({
    seed: fc.nat(1000),
    exits: fc.integer({ min: 1, max: 5 }),
    n: fc.integer({ min: 1, max: most }),
    awkward: fc.boolean(),
    opset: fc.constantFrom(11, 13, 15, 18, 20),
    quantiles: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 4, maxLength: 4 }),
  });
