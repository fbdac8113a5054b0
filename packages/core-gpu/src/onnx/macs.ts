import { z } from "zod";
import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import { parseOptions } from "../options.ts";
import { sizeOf } from "../tensor.ts";
import { densityOf } from "./density.ts";
import { ancestors, attributeOf, indexModel, isStandard, tensorNames } from "./graph.ts";
import type { Model } from "./model.ts";
import { quoted, suggestion } from "./names.ts";
import type { NodeProto } from "./onnx_pb.ts";

/** Multiply-accumulates of one node. */
export interface NodeMacs {
  /** The node's name; may be empty. */
  readonly name: string;
  readonly op: string;
  /** The node's first output. */
  readonly output: string;
  readonly macs: number;
}

/** Multiply-accumulates (MACs; 1 MAC = 2 FLOPs) of a network for the shapes it was counted with. */
export interface MacCount {
  /** Sum over `nodes`. For one sample if the shapes are those of a batch of one. */
  readonly total: number;
  readonly nodes: readonly NodeMacs[];
  /** Operators (each once) that do arithmetic which is not counted: activations, sums, normalisations, bodies of loops. */
  readonly uncounted: readonly string[];
}

/** Options of {@link countMacs}. */
export interface CountMacsOptions {
  /**
   * Whether products with weights that are exactly 0 are left out of convolutions and matrix products: what a runtime that skips them
   * would pay, and a stock one does not. Default false.
   */
  readonly skipZeros?: boolean;
}

const optionsSchema = z.strictObject({ skipZeros: z.boolean().default(false) });

/**
 * Counts the multiply-accumulates of a network's convolutions, matrix products, recurrent and attention layers.
 *
 * A convolution [m, c/g, k...] costs (output elements) · (c/g) · ∏k, a transposed one (input elements) · (m/g) · ∏k, a
 * matrix product (output elements) · (inner size). Biases, activations, normalisation and pooling count nothing, as is
 * usual in the field; what was left out is listed. Nodes that follow from constants alone count nothing (they are
 * computed once), nodes that no output needs do count.
 *
 * @param shapes Shape of every tensor the counted nodes read and make, as `probeShapes` returns them.
 * @throws InputError when a shape is missing, or on an unknown option.
 * @example
 * ```ts
 * import { countMacs, openDevice, probeShapes, readModelFile } from "@exitkit/core-gpu";
 * const model = await readModelFile("network.onnx");
 * const device = await openDevice("cpu");
 * const shapes = await probeShapes(device, model); // symbolic dimensions, such as the batch, are 1
 * await device.close();
 * const { total, nodes } = countMacs(model, shapes);
 * console.assert(total === nodes.reduce((sum, { macs }) => sum + macs, 0));
 * console.assert(nodes[0]?.macs === 4 * 3 * 3 * 3 * 8 * 8); // the stem: 3 to 4 channels, 3×3, at 8×8 places
 * ```
 */
export function countMacs(
  model: Model,
  shapes: ReadonlyMap<string, readonly number[]>,
  options: CountMacsOptions = {},
): MacCount {
  const caller = "core-gpu.countMacs";
  const { skipZeros } = parseOptions(caller, optionsSchema, options);
  const index = indexModel(caller, model);
  const nodes: NodeMacs[] = [];
  const uncounted = new Set<string>();
  const density = ({ opType, input }: NodeProto): number =>
    /^(Fused)?(Conv|ConvTranspose|Gemm|MatMul)$/.test(opType)
      ? input.slice(0, 2).reduce((share, name) => share * densityOf(caller, index, name), 1)
      : 1;
  index.graph.node.forEach((node, at) => {
    if (index.kinds[at] !== "data") return;
    const shape = (name: string | undefined): readonly number[] => {
      const found = shapes.get(name ?? "");
      if (found !== undefined) return found;
      const expectation = `${node.opType} node ${quoted(node.name)} needs the shape of ${quoted(name ?? "")}`;
      throw new InputError(caller, expectation, "none", "Take the shapes from probeShapes(device, model).");
    };
    const dense = nodeMacs(node, shape);
    const macs = dense === undefined || !skipZeros ? dense : dense * density(node);
    if (macs !== undefined) nodes.push({ name: node.name, op: node.opType, output: node.output[0] ?? "", macs });
    else if (!(isStandard(node) && movesDataOnly.has(node.opType))) uncounted.add(node.opType);
  });
  return { total: nodes.reduce((sum, { macs }) => sum + macs, 0), nodes, uncounted: [...uncounted] };
}

/**
 * Multiply-accumulates of everything the given tensors follow from, each node once.
 *
 * @param count What {@link countMacs} returned for this model.
 * @throws InputError on a name that is not a tensor of the model.
 */
export function macsUpTo(model: Model, count: MacCount, tensors: readonly string[]): number {
  const caller = "core-gpu.macsUpTo";
  checkArguments(caller, { count: [count, { nodes: "a list" }], tensors: [tensors, "a list"] });
  const index = indexModel(caller, model);
  const known = tensorNames(index);
  for (const name of tensors) {
    if (!known.has(name)) {
      throw new InputError(caller, "tensors must be tensors of the model", quoted(name), suggestion(name, known));
    }
  }
  const needed = new Set(ancestors(index, tensors));
  return count.nodes.reduce(
    (sum, { output, macs }) => sum + (needed.has(index.producer.get(output) ?? -1) ? macs : 0),
    0,
  );
}

/** Standard operators that only move, select or describe elements: not even listed as uncounted. */
const movesDataOnly = new Set(
  (
    "Identity Reshape Flatten Squeeze Unsqueeze Transpose Shape Size Cast CastLike Concat Slice Split Gather GatherND " +
    "GatherElements Scatter ScatterND ScatterElements Pad Expand Tile Dropout Constant ConstantOfShape Compress OneHot " +
    "DepthToSpace SpaceToDepth SequenceConstruct SequenceAt SequenceInsert SequenceErase SequenceLength SplitToSequence " +
    "ConcatFromSequence NonZero Where Range Trilu ReverseSequence Optional OptionalGetElement"
  ).split(" "),
);

type ShapeOf = (name: string | undefined) => readonly number[];

/** MACs of a node, or undefined for an operator that is not counted. */
function nodeMacs(node: NodeProto, shape: ShapeOf): number | undefined {
  if (!isStandard(node) && node.domain !== "com.microsoft") return undefined;
  const { input, output } = node;
  switch (node.opType) {
    case "Conv":
    case "FusedConv":
    case "ConvInteger":
    case "DeformConv":
      return convolution(shape(input[1]), shape(output[0]));
    case "QLinearConv":
      return convolution(shape(input[3]), shape(output[0]));
    case "ConvTranspose":
      return convolution(shape(input[1]), shape(input[0]));
    case "Gemm":
    case "FusedGemm":
      return sizeOf(shape(output[0])) * shape(input[0])[flag(node, "transA") ? 0 : 1]!;
    case "MatMul":
    case "MatMulInteger":
    case "QLinearMatMul":
    case "FusedMatMul":
      // With a transposed batch the inner dimension lies elsewhere.
      if (flag(node, "transBatchA") || flag(node, "transBatchB")) return undefined;
      return sizeOf(shape(output[0])) * shape(input[0]).at(flag(node, "transA") ? -2 : -1)!;
    case "Einsum":
      return einsum(node, shape);
    case "LSTM":
    case "GRU":
    case "RNN": {
      const [steps = 0, batch = 0] = shape(input[0]);
      return steps * batch * (sizeOf(shape(input[1])) + sizeOf(shape(input[2])));
    }
    case "Attention":
      return isStandard(node) ? attention(node, shape) : projectedAttention(node, shape);
    default:
      return undefined;
  }
}

/** (elements of the output) · (weights per output channel); for a transposed convolution, of the input. */
function convolution(weight: readonly number[], positions: readonly number[]): number {
  return sizeOf(positions) * sizeOf(weight.slice(1));
}

/** Product of the sizes of all indices of a two-operand Einsum. */
function einsum(node: NodeProto, shape: ShapeOf): number | undefined {
  const equation = new TextDecoder().decode(attributeOf(node, "equation")?.s);
  const terms = (equation.replaceAll(" ", "").split("->")[0] ?? "").split(",");
  if (terms.length !== 2 || node.input.length !== 2) return undefined;
  const sizes = new Map<string, number>();
  terms.forEach((term, operand) => {
    const dims = shape(node.input[operand]);
    const [before = "", after] = term.split("...");
    const labels = [...before, ...Array.from({ length: dims.length - before.length - (after ?? "").length }, () => "")];
    [...labels, ...(after ?? "")].forEach((label, at) => {
      // Dimensions of the ellipsis are aligned from its right end.
      const key = label === "" ? `...${labels.length - at}` : label;
      sizes.set(key, Math.max(sizes.get(key) ?? 1, dims[at]!));
    });
  });
  return sizeOf([...sizes.values()]);
}

/** Standard Attention(Q, K, V) without a cache: scores and weighted sum, n · heads · tq · tk · (dk + dv). */
function attention(node: NodeProto, shape: ShapeOf): number | undefined {
  const [q, k, v] = [shape(node.input[0]), shape(node.input[1]), shape(node.input[2])];
  if (node.input[4] !== undefined && node.input[4] !== "") return undefined;
  if (q.length === 4) return sizeOf(q.slice(0, 3)) * k[2]! * (q[3]! + v[3]!);
  const heads = (name: string) => Number(attributeOf(node, name)?.i ?? 1n);
  const valueSize = v[2]! / heads("kv_num_heads");
  return q[0]! * q[1]! * k[1]! * (q[2]! + heads("q_num_heads") * valueSize);
}

/** com.microsoft Attention without a cache: one projection to queries, keys and values, scores and weighted sum. */
function projectedAttention(node: NodeProto, shape: ShapeOf): number | undefined {
  const [n = 0, t = 0, d = 0] = shape(node.input[0]);
  const projected = shape(node.input[1])[1] ?? 0;
  const sizes = node.attribute.some(({ name }) => name === "qkv_hidden_sizes");
  if (sizes || (node.input[4] !== undefined && node.input[4] !== "")) return undefined;
  return n * t * d * projected + (2 * n * t * t * projected) / 3;
}

function flag(node: NodeProto, name: string): boolean {
  return (attributeOf(node, name)?.i ?? 0n) !== 0n;
}
