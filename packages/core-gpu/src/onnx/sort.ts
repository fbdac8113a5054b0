import { changed } from "./graph.ts";
import type { GraphProto, ModelProto, NodeProto } from "./onnx_pb.ts";
import { nodeReads, subgraphs } from "./reads.ts";

/**
 * A model with the nodes of its graphs in topological order; nodes that stand so already keep their places, and the model
 * itself is given back where all do. Some tools append nodes (ONNX Runtime, which sorts them itself, runs such files). Nodes
 * on a cycle stay behind the others, for the check that follows.
 */
export function sorted(proto: ModelProto): ModelProto {
  if (proto.graph === undefined) return proto;
  const graph = sortedGraph(proto.graph);
  return graph === proto.graph ? proto : changed(proto, { graph });
}

function sortedGraph(graph: GraphProto): GraphProto {
  const inside = graph.node.map(withSortedBodies);
  const node = inOrder(inside) ? inside : ordered(inside);
  return node.every((entry, at) => entry === graph.node[at]) ? graph : changed(graph, { node: [...node] });
}

function withSortedBodies(node: NodeProto): NodeProto {
  const bodies = subgraphs(node);
  const bodiesSorted = new Map(bodies.map((body) => [body, sortedGraph(body)]));
  if (bodies.every((body) => bodiesSorted.get(body) === body)) return node;
  const attribute = node.attribute.map((entry) =>
    entry.g === undefined && entry.graphs.length === 0
      ? entry
      : changed(entry, {
          ...(entry.g === undefined ? {} : { g: bodiesSorted.get(entry.g)! }),
          graphs: entry.graphs.map((body) => bodiesSorted.get(body)!),
        }),
  );
  return changed(node, { attribute });
}

function inOrder(nodes: readonly NodeProto[]): boolean {
  const later = new Set(nodes.flatMap(({ output }) => output));
  return nodes.every((node) => {
    const ready = nodeReads(node).every((name) => !later.has(name));
    for (const name of node.output) later.delete(name);
    return ready;
  });
}

function ordered(nodes: readonly NodeProto[]): readonly NodeProto[] {
  const makers = new Map(nodes.flatMap(({ output }, at) => output.map((name) => [name, at] as const)));
  makers.delete("");
  const sources = nodes.map(
    (node) => new Set(nodeReads(node).flatMap((name) => (makers.has(name) ? [makers.get(name)!] : []))),
  );
  const users = nodes.map((): number[] => []);
  for (const [at, from] of sources.entries()) for (const source of from) users[source]!.push(at);
  const missing = sources.map((from) => from.size);
  // The first place that is ready comes next: what stood in order stays in it.
  const ready = missing.flatMap((count, at) => (count === 0 ? [at] : []));
  const order: number[] = [];
  while (ready.length > 0) {
    const at = ready.shift()!;
    order.push(at);
    for (const user of users[at]!) {
      missing[user]!--;
      if (missing[user] !== 0) continue;
      const place = ready.findIndex((other) => other > user);
      ready.splice(place < 0 ? ready.length : place, 0, user);
    }
  }
  const left = missing.flatMap((count, at) => (count > 0 ? [at] : []));
  return [...order, ...left].map((at) => nodes[at]!);
}
