import { InputError, type Model, onnx, type Tensor } from "@exitkit/core-gpu";

type NodeProto = onnx.NodeProto;

/** A weight that a node reads, perhaps transposed on the way. */
interface ReadWeight {
  /** Name of the initializer. */
  readonly name: string;
  /** The initializer's axis for each axis of what the node reads. */
  readonly axes: readonly number[];
}

/** What the rules look up in a graph. */
export interface Graph {
  readonly nodes: readonly NodeProto[];
  /** Version of the standard operators. */
  readonly opset: number;
  /** Names of the graph's outputs. */
  readonly outputs: readonly string[];
  /** Shape of any tensor, for the samples that were probed. */
  shape(name: string): readonly number[];
  /** The nodes that read a tensor. */
  readers(name: string): readonly NodeProto[];
  /** Whether a tensor follows from weights alone. */
  isConstant(name: string): boolean;
  /** The value of a constant that a node or an initializer holds; undefined for computed ones. */
  constant(name: string | undefined): Tensor | undefined;
  /** The weight behind a name; undefined where it is computed from several. */
  weight(name: string): ReadWeight | undefined;
}

/** Indexes a model's graph with the shapes that `probeShapes` found. */
export function graphOf(caller: string, model: Model, shapes: ReadonlyMap<string, readonly number[]>): Graph {
  const { graph } = model.proto;
  if (graph === undefined) throw new InputError(caller, "the model must have a graph", "none");
  const initializers = new Map(graph.initializer.map((weight) => [weight.name, weight]));
  const producers = new Map(graph.node.flatMap((node) => node.output.map((name) => [name, node] as const)));
  const readers = new Map<string, NodeProto[]>();
  for (const node of graph.node) {
    for (const name of new Set(node.input)) readers.set(name, [...(readers.get(name) ?? []), node]);
  }
  const constants = new Map<string, boolean>([...initializers.keys()].map((name) => [name, true]));
  const isConstant = (name: string): boolean => {
    const known = constants.get(name);
    if (known !== undefined) return known;
    const node = producers.get(name);
    const found = node?.input.every((input) => input === "" || isConstant(input)) ?? false;
    constants.set(name, found);
    return found;
  };
  // In the order of the nodes, so that the recursion above never goes deep.
  for (const node of graph.node) for (const name of node.output) isConstant(name);
  const shape = (name: string): readonly number[] => {
    const found = shapes.get(name);
    if (found !== undefined) return found;
    throw new InputError(caller, `the shape of ${onnx.quoted(name)} must be known`, "none", "Pass sampleShape.");
  };
  const weight = (name: string): ReadWeight | undefined => {
    if (initializers.has(name)) return { name, axes: shape(name).map((_, axis) => axis) };
    const node = producers.get(name);
    if (node?.opType === "Identity") return weight(node.input[0]!);
    if (node?.opType !== "Transpose") return undefined;
    const inner = weight(node.input[0]!);
    if (inner === undefined) return undefined;
    const permutation = ints(node, "perm") ?? inner.axes.map((_, axis) => inner.axes.length - 1 - axis);
    return { name: inner.name, axes: permutation.map((axis) => inner.axes[axis]!) };
  };
  return {
    nodes: graph.node,
    opset: onnx.opsetOf(model),
    readers: (name) => readers.get(name) ?? [],
    outputs: graph.output.map(({ name }) => name),
    shape,
    isConstant,
    constant(name) {
      if (name === undefined || name === "") return undefined;
      const held = initializers.get(name);
      if (held !== undefined) return onnx.hostTensor(caller, held);
      const node = producers.get(name);
      return node === undefined ? undefined : onnx.constantTensor(caller, node);
    },
    weight,
  };
}

/** A list-of-integers attribute. */
export function ints(node: NodeProto, name: string): readonly number[] | undefined {
  return node.attribute.find((entry) => entry.name === name)?.ints.map(Number);
}

/** An integer attribute. */
export function int(node: NodeProto, name: string, otherwise: number): number {
  const found = node.attribute.find((entry) => entry.name === name);
  return found === undefined ? otherwise : Number(found.i);
}
