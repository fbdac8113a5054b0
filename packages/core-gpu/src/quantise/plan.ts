import { attributeOf, indexModel, isStandard } from "../onnx/graph.ts";
import type { Model } from "../onnx/model.ts";
import { opsetOf } from "../onnx/model.ts";
import type { NodeProto } from "../onnx/onnx_pb.ts";
import { TensorProto_DataType } from "../onnx/onnx_pb.ts";
import { elementTypes } from "../onnx/types.ts";
import { type constantTensor, hostTensor } from "../program/import/weights.ts";
import { floatOf, intOf } from "./graph-parts.ts";

/** A node that computes with 8 bits. */
interface PlannedNode {
  /** Its number in the graph. */
  readonly at: number;
  /**
   * `weighted`: Conv, Gemm and MatMul with constant weights; `joined`: sums, products, concatenations and poolings, which read and
   * write rounded values; `moved`: nodes that only move values, which run on the whole numbers themselves.
   */
  readonly kind: "weighted" | "joined" | "moved";
  /** Name of the tensor it makes, after folding an activation into it. */
  readonly output: string;
}

/** What is to be done in 8 bits. */
export interface QuantisationPlan {
  readonly nodes: readonly PlannedNode[];
  /** Numbers of the Relu and Clip nodes that the range of the node in front of them replaces. */
  readonly folded: ReadonlySet<number>;
  /** Tensors that are rounded, each with a range of its own, in the order in which they are made. */
  readonly rounded: ReadonlySet<string>;
  /** Tensors that moving nodes make, with the tensor whose scale they share. */
  readonly shared: ReadonlyMap<string, string>;
  /** Nodes left in float, and why. */
  readonly left: readonly { readonly at: number; readonly reason: string }[];
}

const joining = new Set(["Add", "Mul", "Concat", "GlobalAveragePool", "AveragePool", "LeakyRelu", "Sigmoid"]);
const moving = new Set([
  ..."Reshape Flatten Squeeze Unsqueeze Transpose Slice Gather Identity".split(" "),
  ...["MaxPool", "Pad"],
]);

/**
 * Decides which nodes of a prepared network compute with 8 bits, and which tensors are rounded for that.
 *
 * @param keepFloat Names (or first outputs) of nodes to leave in float.
 */
export function planQuantisation(caller: string, model: Model, keepFloat: ReadonlySet<string>): QuantisationPlan {
  const { graph, kinds, consumers, outputs, weights } = indexModel(caller, model);
  const opset = opsetOf(model);
  const types = elementTypes(graph);
  const values = new Map(graph.initializer.map((weight) => [weight.name, weight]));
  const isFloat = (name: string) => types.get(name) === TensorProto_DataType.FLOAT;
  const isWeight = (name: string | undefined) => values.has(name ?? "") && isFloat(name!);
  const constant = (name: string | undefined) => {
    const weight = values.get(name ?? "");
    return weight === undefined ? undefined : hostTensor(caller, weight);
  };

  /** Why a node that computes stays in float; undefined where 8 bits do. */
  const refusal = (node: NodeProto): string | undefined => {
    const { opType, input, output } = node;
    if (keepFloat.has(node.name) || keepFloat.has(output[0]!)) return "asked for";
    const weighted = opType === "Conv" || opType === "Gemm" || opType === "MatMul";
    if (!isStandard(node) || !(weighted || joining.has(opType))) return "no 8-bit kernel";
    const read = weighted ? input.slice(0, 1) : input;
    if (read.some((name) => weights.has(name))) return "reads a constant";
    if (![...read, output[0]!].every(isFloat)) return "is not float32";
    if (!weighted) return undefined;
    if (!isWeight(input[1])) return "its weights are not constant";
    const rank = values.get(input[1]!)!.dims.length;
    if (opType !== "Conv" && rank !== 2) return "its weights are no matrix";
    const bias = input[2] ?? "";
    if (bias !== "" && (!isWeight(bias) || values.get(bias)!.dims.length !== 1))
      return "its bias is no constant vector";
    if (opType !== "Gemm") return undefined;
    const plain = floatOf(node, "alpha", 1) === 1 && floatOf(node, "beta", 1) === 1 && intOf(node, "transA", 0) === 0;
    if (!plain) return "it scales or transposes its input";
    const columns = Number(values.get(input[1]!)!.dims[intOf(node, "transB", 0) !== 0 ? 0 : 1]!);
    return bias !== "" && Number(values.get(bias)!.dims[0]) !== columns ? "its bias is no constant vector" : undefined;
  };

  const left: { at: number; reason: string }[] = [];
  const core: { at: number; kind: "weighted" | "joined"; activation?: number }[] = [];
  graph.node.forEach((node, at) => {
    if (kinds[at] !== "data" || moving.has(node.opType) || isClamp(node, constant)) return;
    const reason = refusal(node);
    if (reason !== undefined) left.push({ at, reason });
    else core.push({ at, kind: joining.has(node.opType) ? "joined" : "weighted" });
  });

  // A Relu or Clip that alone reads a result is done by the ends of the range.
  const clampOf = (at: number): number | undefined => {
    const made = graph.node[at]!.output[0]!;
    const readers = consumers.get(made) ?? [];
    if (outputs.includes(made) || readers.length !== 1) return undefined;
    const reader = graph.node[readers[0]!]!;
    const kept = keepFloat.has(reader.name) || keepFloat.has(reader.output[0]!);
    return isClamp(reader, constant) && !kept ? readers[0] : undefined;
  };
  const demanded = new Set<string>();
  for (const { at } of core) for (const name of activationsOf(graph.node[at]!)) demanded.add(name);
  const folded = new Set<number>();
  const made = new Map<number, string>();
  for (const { at } of core) {
    const node = graph.node[at]!;
    const clamp = clampOf(at);
    const after = clamp === undefined ? undefined : graph.node[clamp]!.output[0]!;
    // A matrix product's result may stay float: kernels of 8 bits give it so, and nothing is lost by rounding it.
    const mayStay = node.opType === "Gemm" || node.opType === "MatMul";
    const wanted = after !== undefined && (demanded.has(after) || !mayStay);
    if (wanted) folded.add(clamp!);
    const output = wanted ? after : node.output[0]!;
    made.set(at, output);
    if (!mayStay) demanded.add(output);
  }

  graph.node.forEach((node, at) => {
    if (kinds[at] === "data" && isClamp(node, constant) && !folded.has(at)) {
      left.push({ at, reason: "does not alone read an 8-bit node" });
    }
  });

  const mayMove = (node: NodeProto, at: number): boolean => {
    if (kinds[at] !== "data" || !isStandard(node) || !moving.has(node.opType)) return false;
    if (keepFloat.has(node.name) || keepFloat.has(node.output[0]!)) return false;
    if (!isFloat(node.input[0]!) || node.output.length > 1) return false;
    if (node.opType === "MaxPool") return opset >= 12 && intOf(node, "storage_order", 0) === 0;
    return node.opType !== "Pad" || (opset >= 11 && padsWithZero(node, constant));
  };
  const wanted = new Set(demanded);
  for (let at = graph.node.length - 1; at >= 0; at--) {
    const node = graph.node[at]!;
    if (mayMove(node, at) && wanted.has(node.output[0]!)) wanted.add(node.input[0]!);
  }
  const shared = new Map<string, string>();
  const moved: PlannedNode[] = [];
  graph.node.forEach((node, at) => {
    const [from, to] = [node.input[0] ?? "", node.output[0] ?? ""];
    if (!mayMove(node, at) || !wanted.has(to)) return;
    const origin = shared.get(from) ?? (demanded.has(from) ? from : undefined);
    if (origin === undefined) return;
    shared.set(to, origin);
    moved.push({ at, kind: "moved", output: to });
  });
  const order = [...graph.input.map(({ name }) => name), ...graph.node.flatMap(({ output }) => output)];
  const rounded = new Set(order.filter((name) => demanded.has(name) && !shared.has(name)));
  const nodes = [...core.map(({ at, kind }) => ({ at, kind, output: made.get(at)! })), ...moved];
  const byPlace = (a: { at: number }, b: { at: number }) => a.at - b.at;
  return { nodes: nodes.sort(byPlace), folded, rounded, shared, left: left.sort(byPlace) };
}

/** The inputs of a node that are rounded: the first of a weighted one, else all. */
export function activationsOf({ opType, input }: NodeProto): string[] {
  return opType === "Conv" || opType === "Gemm" || opType === "MatMul" ? [input[0]!] : [...new Set(input)];
}

type ConstantOf = (name: string | undefined) => ReturnType<typeof constantTensor>;

/** Whether a node is a Relu, or a Clip with constant ends around zero. */
function isClamp(node: NodeProto, constant: ConstantOf): boolean {
  if (!isStandard(node)) return false;
  if (node.opType === "Relu") return true;
  if (node.opType !== "Clip") return false;
  const end = (place: number, attribute: string, otherwise: number): number | undefined => {
    const name = node.input[place] ?? "";
    if (name === "") return attributeOf(node, attribute)?.f ?? otherwise;
    const value = constant(name)?.data[0];
    return value === undefined ? undefined : Number(value);
  };
  const [min, max] = [end(1, "min", Number.NEGATIVE_INFINITY), end(2, "max", Number.POSITIVE_INFINITY)];
  return min !== undefined && max !== undefined && min <= 0 && max >= 0;
}

function padsWithZero(node: NodeProto, constant: ConstantOf): boolean {
  const mode = attributeOf(node, "mode");
  if (mode !== undefined && new TextDecoder().decode(mode.s) !== "constant") return true;
  const value = node.input[2] ?? "";
  return value === "" || constant(value)?.data[0] === 0;
}
