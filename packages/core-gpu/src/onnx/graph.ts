import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import type { Model } from "./model.ts";
import type { AttributeProto, GraphProto, NodeProto } from "./onnx_pb.ts";
import { nodeReads, weightNames } from "./reads.ts";

/** Who makes and who uses every tensor of a graph. Nodes are numbered by their place, which is a topological order. */
export interface GraphIndex {
  readonly graph: GraphProto;
  /** Tensors that each node reads: its inputs, then what its subgraphs (bodies of If, Loop, Scan) capture. No repeats. */
  readonly reads: readonly (readonly string[])[];
  /** Number of the node that makes a tensor. */
  readonly producer: ReadonlyMap<string, number>;
  /** Numbers of the nodes that read a tensor, ascending. */
  readonly consumers: ReadonlyMap<string, readonly number[]>;
  /** Names of all weights, dense and sparse. */
  readonly weights: ReadonlySet<string>;
  /** Graph inputs that have no initializer. */
  readonly inputs: ReadonlySet<string>;
  readonly outputs: readonly string[];
  /** For each node, what its value follows from. */
  readonly kinds: readonly NodeKind[];
}

/**
 * What a node's value follows from: `data`, the values of inputs (or chance); `shape`, only shapes (it hangs on inputs
 * through Shape and Size nodes alone); `constant`, neither.
 */
type NodeKind = "data" | "shape" | "constant";

/** Refuses what is no model: a path, or a promise of one. */
export function requireModel(caller: string, model: Model): void {
  if (typeof (model as Partial<Model> | null)?.proto === "object") return;
  const given = model as unknown;
  const actual = given instanceof Promise ? "a Promise" : given === null ? "null" : typeof given;
  const fix = given instanceof Promise ? "Await it." : "readModelFile(path) and readModel(bytes) give one.";
  throw new InputError(caller, "the model must be one that was read or made", actual, fix);
}

const indexes = new WeakMap<GraphProto, GraphIndex>();

/** Index of a model's graph; computed once per graph. */
export function indexModel(caller: string, model: Model): GraphIndex {
  requireModel(caller, model);
  const graph = model.proto.graph;
  if (graph === undefined) throw new InputError(caller, "the model must have a graph", "none");
  const known = indexes.get(graph);
  if (known !== undefined) return known;
  const index = indexGraph(graph);
  indexes.set(graph, index);
  return index;
}

function indexGraph(graph: GraphProto): GraphIndex {
  const weights = weightNames(graph);
  const inputs = new Set(graph.input.map(({ name }) => name).filter((name) => !weights.has(name)));
  const reads = graph.node.map(nodeReads);
  const producer = new Map<string, number>();
  const consumers = new Map<string, number[]>();
  const kinds: NodeKind[] = [];
  graph.node.forEach((node, at) => {
    for (const name of node.output) if (name !== "") producer.set(name, at);
    for (const name of reads[at]!) {
      const users = consumers.get(name);
      if (users === undefined) consumers.set(name, [at]);
      else users.push(at);
    }
    kinds.push(
      kindOf(node, new Set(reads[at]!.map((name) => (inputs.has(name) ? "data" : kinds[producer.get(name)!])))),
    );
  });
  return { graph, reads, producer, consumers, weights, inputs, outputs: graph.output.map(({ name }) => name), kinds };
}

/**
 * Nodes that the given tensors follow from, as ascending numbers.
 *
 * @param stop Nodes at which to stop: they and what only they need are left out.
 */
export function ancestors(
  index: GraphIndex,
  tensors: Iterable<string>,
  stop: (node: number) => boolean = () => false,
): number[] {
  const found = new Set<number>();
  const open = [...tensors];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const node = index.producer.get(name);
    if (node === undefined || found.has(node) || stop(node)) continue;
    found.add(node);
    open.push(...index.reads[node]!);
  }
  return [...found].sort((a, b) => a - b);
}

/** Every name of the graph: inputs, weights and what nodes make. */
export function tensorNames(index: GraphIndex): Set<string> {
  return new Set([...index.inputs, ...index.weights, ...index.producer.keys()]);
}

const randomOperators = new Set([
  "RandomNormal",
  "RandomUniform",
  "RandomNormalLike",
  "RandomUniformLike",
  "Multinomial",
  "Bernoulli",
]);

function kindOf(node: NodeProto, reads: ReadonlySet<NodeKind | undefined>): NodeKind {
  const standard = isStandard(node);
  if (standard && randomOperators.has(node.opType)) return "data";
  if (reads.has("data")) return standard && (node.opType === "Shape" || node.opType === "Size") ? "shape" : "data";
  return reads.has("shape") ? "shape" : "constant";
}

/** Whether a node is one of the standard operator set. */
export function isStandard({ domain }: NodeProto): boolean {
  return domain === "" || domain === "ai.onnx";
}

/** A copy of a protobuf message with some fields changed; unlike a spread it keeps defaults and unknown fields. */
export function changed<M extends object>(message: M, fields: Partial<M>): M {
  checkArguments("core-gpu.onnx.changed", { message: [message, "an object"], fields: [fields, "an object"] });
  return Object.assign(Object.create(Object.getPrototypeOf(message)), message, fields);
}

/** An attribute of a node. */
export function attributeOf(node: NodeProto, name: string): AttributeProto | undefined {
  return node.attribute.find((entry) => entry.name === name);
}
