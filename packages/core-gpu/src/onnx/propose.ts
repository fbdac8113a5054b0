import { z } from "zod";
import { InputError } from "../errors.ts";
import { parseOptions } from "../options.ts";
import type { GraphIndex } from "./graph.ts";
import { ancestors, indexModel, isStandard } from "./graph.ts";
import type { Model } from "./model.ts";
import { quoted, suggestion } from "./names.ts";
import type { GraphProto } from "./onnx_pb.ts";
import { subgraphs } from "./reads.ts";

/** Options of {@link proposeCuts}. */
export interface ProposeCutsOptions {
  /** The outputs the network is for; taps and auxiliary outputs that are not named are ignored. Default: all. */
  readonly outputs?: readonly string[];
}

const proposeOptions = z.strictObject({ outputs: z.array(z.string()).min(1).optional() });

/**
 * Proposes where to cut a network: the tensor after each of its blocks, from first to last.
 *
 * A candidate is a tensor through which every path from the inputs to the outputs goes (paths that only carry shapes do
 * not count), so that it alone crosses the cut. Between two neighbouring candidates lies one node or one region with
 * branches (a residual or dense block). A region with weights opens a block; what follows without weights (activation,
 * normalisation, pooling) still belongs to it; the last candidate of each block is proposed. So a plain chain is
 * proposed after each layer's activation or pooling, a residual network after its stem and each block. The classifier's
 * tail (global pooling or flattening and what follows the last convolution or branching region) is left out, and
 * something with weights always remains after the last proposal. The result may be empty.
 *
 * @returns Names of tensors, each of which is a cut for `cutStages`.
 * @throws InputError when an output named in the options does not exist.
 * @example
 * ```ts
 * import { proposeCuts, readModelFile } from "@exitkit/core-gpu";
 * const blocks = proposeCuts(await readModelFile("network.onnx"));
 * console.assert(blocks.length === 5 && blocks[1] === "/one/Relu_1_output_0");
 * ```
 */
export function proposeCuts(model: Model, options: ProposeCutsOptions = {}): readonly string[] {
  const caller = "core-gpu.proposeCuts";
  const parsed = parseOptions(caller, proposeOptions, options);
  const index = indexModel(caller, model);
  const outputs = parsed.outputs ?? index.outputs;
  for (const name of outputs) {
    if (!index.outputs.includes(name)) {
      throw new InputError(
        caller,
        "outputs must be outputs of the model",
        quoted(name),
        suggestion(name, index.outputs),
      );
    }
  }
  const segments = cutIntoSegments(index, outputs);
  const weighted = segments.map(({ nodes }) => nodes.some((node) => weightRank(index, node) > 0));
  const end = endOfBody(index, segments, weighted);
  return segments
    .filter(({ end: tensor }, at) => {
      const inBody = at <= end && index.kinds[index.producer.get(tensor)!] === "data";
      const blockEnds = at === end || weighted[at + 1] === true;
      return inBody && blockEnds && weighted.slice(0, at + 1).includes(true) && weighted.slice(at + 1).includes(true);
    })
    .map((segment) => segment.end);
}

/** The nodes between two neighbouring separators, and the separator they end with. */
interface Segment {
  readonly nodes: readonly number[];
  readonly end: string;
}

/**
 * Walks the nodes in order and keeps the set of tensors that are still needed. Where it holds a single tensor,
 * everything later follows from that tensor alone.
 */
function cutIntoSegments(index: GraphIndex, outputs: readonly string[]): Segment[] {
  const nodes = ancestors(index, outputs).filter((node) => index.kinds[node] === "data");
  const readers = new Map<string, number>();
  const flows = nodes.map((node) => {
    const sources = index.reads[node]!.filter((name) => isDataTensor(index, name));
    for (const name of sources) readers.set(name, (readers.get(name) ?? 0) + 1);
    return { node, sources };
  });
  for (const name of outputs) readers.set(name, (readers.get(name) ?? 0) + 1);
  const live = new Set([...index.inputs].filter((name) => readers.has(name)));
  const segments: Segment[] = [];
  let open: number[] = [];
  for (const { node, sources } of flows) {
    open.push(node);
    for (const name of sources) {
      const left = readers.get(name)! - 1;
      readers.set(name, left);
      if (left === 0) live.delete(name);
    }
    for (const name of index.graph.node[node]!.output) if (readers.has(name)) live.add(name);
    if (live.size === 1) {
      segments.push({ nodes: open, end: [...live][0]! });
      open = [];
    }
  }
  return segments;
}

function isDataTensor(index: GraphIndex, name: string): boolean {
  if (index.inputs.has(name)) return true;
  return index.kinds[index.producer.get(name) ?? -1] === "data";
}

const tailOperators = new Set([
  "GlobalAveragePool",
  "GlobalMaxPool",
  "GlobalLpPool",
  "ReduceMean",
  "ReduceMax",
  "ReduceSum",
  "Flatten",
  "Reshape",
  "Squeeze",
  "Gather",
  "Slice",
]);

/** Number of the segment with which the network's body ends and its classifier's tail begins after; −1 without a body. */
function endOfBody(index: GraphIndex, segments: readonly Segment[], weighted: readonly boolean[]): number {
  const spatial = ({ nodes }: Segment, at: number) =>
    weighted[at] === true && (nodes.length > 1 || nodes.some((node) => weightRank(index, node) > 2));
  let last = segments.findLastIndex(spatial);
  // A chain of plain layers has no body and tail; all but its last layer can be cut.
  if (last < 0) last = weighted.lastIndexOf(true, weighted.lastIndexOf(true) - 1);
  if (last < 0) return last;
  // What ends the network stays in the last stage: then the body ends a layer earlier.
  if (!weighted.slice(last + 1).includes(true)) return last;
  const opsOf = (segment: Segment) => segment.nodes.map((node) => index.graph.node[node]!.opType);
  while (!weighted[last + 1] && !opsOf(segments[last + 1]!).some((op) => tailOperators.has(op))) last++;
  return last;
}

// Operators that add, scale or look up with a constant: no layer of their own.
const elementwise = new Set([
  "Add",
  "Sub",
  "Mul",
  "Div",
  "Pow",
  "Where",
  "Concat",
  "Max",
  "Min",
  "PRelu",
  "Gather",
  "Expand",
]);

/** Largest rank of a weight that a node computes with: at least two of its dimensions are above 1; 0 without one. */
function weightRank(index: GraphIndex, node: number): number {
  const proto = index.graph.node[node]!;
  if (isStandard(proto) && elementwise.has(proto.opType)) return 0;
  const ranks = ranksOf(index.graph);
  const constant = (name: string) => index.kinds[index.producer.get(name) ?? -1] === "constant";
  const sources = index.reads[node]!.filter((name) => index.weights.has(name) || constant(name));
  const behind = ancestors(index, sources.filter(constant)).flatMap((from) => {
    const { output } = index.graph.node[from]!;
    return [...index.reads[from]!, ...output];
  });
  const inside = subgraphs(proto).flatMap((body) => [...ranksOf(body).values()]);
  return Math.max(0, ...inside, ...[...sources, ...behind].map((name) => ranks.get(name) ?? 0));
}

const rankCache = new WeakMap<GraphProto, ReadonlyMap<string, number>>();

function ranksOf(graph: GraphProto): ReadonlyMap<string, number> {
  const known = rankCache.get(graph);
  if (known !== undefined) return known;
  const rank = (dims: readonly bigint[]) => (dims.filter((dimension) => dimension > 1n).length >= 2 ? dims.length : 0);
  const ranks = new Map(graph.initializer.map(({ name, dims }): [string, number] => [name, rank(dims)]));
  for (const { values, dims } of graph.sparseInitializer) ranks.set(values?.name ?? "", rank(dims));
  for (const node of graph.node) {
    const value = node.opType === "Constant" ? node.attribute[0]?.t : undefined;
    if (value !== undefined) ranks.set(node.output[0]!, rank(value.dims));
  }
  rankCache.set(graph, ranks);
  return ranks;
}
