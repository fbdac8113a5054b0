import { isStandard } from "./graph.ts";
import type { Model } from "./model.ts";
import type { GraphProto, NodeProto } from "./onnx_pb.ts";
import { subgraphs } from "./reads.ts";

/** Nodes whose number of rounds a model's data decide: Loop and Scan, in the graph, its subgraphs and functions. */
export function loopsIn({ proto }: Model): readonly NodeProto[] {
  const found: NodeProto[] = [];
  const pending: Pick<GraphProto, "node">[] = [...(proto.graph === undefined ? [] : [proto.graph]), ...proto.functions];
  for (let graph = pending.pop(); graph !== undefined; graph = pending.pop()) {
    for (const node of graph.node) {
      if (isStandard(node) && (node.opType === "Loop" || node.opType === "Scan")) found.push(node);
      pending.push(...subgraphs(node));
    }
  }
  return found;
}
