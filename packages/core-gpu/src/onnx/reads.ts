import type { AttributeProto, GraphProto, NodeProto } from "./onnx_pb.ts";

/** Names of a graph's initializers, dense and sparse. */
export function weightNames(graph: GraphProto): Set<string> {
  const sparse = graph.sparseInitializer.map(({ values }) => values?.name ?? "");
  return new Set([...graph.initializer.map(({ name }) => name), ...sparse]);
}

/** Tensors that a node reads: its inputs, then what its subgraphs capture from around them. No repeats, no `""`. */
export function nodeReads(node: NodeProto): string[] {
  const names = new Set(node.input);
  for (const body of subgraphs(node)) for (const name of captures(body)) names.add(name);
  names.delete("");
  return [...names];
}

/** The graphs inside a node's attributes. */
export function subgraphs(node: { readonly attribute: readonly AttributeProto[] }): GraphProto[] {
  return node.attribute.flatMap(({ g, graphs }) => (g === undefined ? graphs : [g, ...graphs]));
}

/** Names that a subgraph uses but does not define. */
function captures(graph: GraphProto): Set<string> {
  const own = weightNames(graph);
  for (const { name } of graph.input) own.add(name);
  const free = new Set<string>();
  for (const node of graph.node) {
    for (const name of nodeReads(node)) if (!own.has(name)) free.add(name);
    for (const name of node.output) own.add(name);
  }
  for (const { name } of graph.output) if (!own.has(name)) free.add(name);
  return free;
}
