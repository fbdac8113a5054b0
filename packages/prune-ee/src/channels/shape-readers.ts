import type { onnx } from "@exitkit/core-gpu";
import { type Graph, int } from "./graph.ts";

type NodeProto = onnx.NodeProto;

const passing = new Set("Gather Slice Unsqueeze Squeeze Concat Cast Identity".split(" "));
/** Operators that take a shape, and where: the number follows the channels by itself. */
const takers: Readonly<Record<string, number>> = { Reshape: 1, Resize: 3, Expand: 1 };

/**
 * Whether something is computed from how many channels there are: √(d ÷ heads) of attention changes with the heads' size, the target
 * of a Reshape follows by itself.
 *
 * @param shape A Shape or Size node.
 * @param axis The channels'.
 */
export function countsWith(graph: Graph, shape: NodeProto, axis: number): boolean {
  if (shape.opType === "Size") return true;
  const rank = graph.shape(shape.input[0]!).length;
  const within = (value: number) => Math.min(Math.max(value < 0 ? value + rank : value, 0), rank);
  const [start, end] = [within(int(shape, "start", 0)), within(int(shape, "end", rank))];
  if (axis < start || axis >= end) return false;
  const pending = graph
    .readers(shape.output[0]!)
    .filter((node) => !avoids(graph, node, axis - start, end - start))
    .map((node) => [node, shape.output[0]!] as const);
  const seen = new Set<NodeProto>();
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [node, name] = next;
    if (takers[node.opType] !== undefined && node.input.indexOf(name) === takers[node.opType]) continue;
    if (!passing.has(node.opType)) return true;
    if (seen.has(node)) continue;
    seen.add(node);
    for (const output of node.output) for (const reader of graph.readers(output)) pending.push([reader, output]);
  }
  return false;
}

/** Whether a reader of a shape takes other numbers of it. */
function avoids(graph: Graph, node: NodeProto, at: number, size: number): boolean {
  const numbers = (name: string | undefined) => {
    const data = graph.constant(name)?.data;
    return data === undefined ? undefined : Array.from(data as ArrayLike<number | bigint>, Number);
  };
  const from = (value: number) => Math.min(Math.max(value < 0 ? value + size : value, 0), size);
  if (node.opType === "Gather") {
    const indices = numbers(node.input[1]);
    return indices !== undefined && !indices.some((index) => from(index) === at);
  }
  if (node.opType !== "Slice" || (node.input[4] !== undefined && numbers(node.input[4])?.[0] !== 1)) return false;
  const [starts, ends] = [numbers(node.input[1]), numbers(node.input[2])];
  return starts?.length === 1 && ends?.length === 1 && (at < from(starts[0]!) || at >= from(ends[0]!));
}
