import { InputError } from "../../errors.ts";
import { copyGraph } from "../../onnx/attach.ts";
import { changed } from "../../onnx/graph.ts";
import type { GraphProto, NodeProto, OperatorSetIdProto } from "../../onnx/onnx_pb.ts";
import { nodeReads, subgraphs } from "../../onnx/reads.ts";
import type { Operator } from "../operator.ts";
import type { Spec } from "../spec.ts";
import { apply, type Value } from "../value.ts";
import { titleOf } from "./node.ts";

/** What an opaque node brings along. */
interface OpaqueAttributes {
  readonly node: NodeProto;
  readonly opset: number;
  /** Other operator sets that the model imports. */
  readonly imports: readonly OperatorSetIdProto[];
}

/**
 * A node as an operator of its own that is written as it was read. It has no gradient; its name says what it is, so that
 * an error about that names the node.
 */
function opaqueOperator(node: NodeProto, results: readonly Spec[]): Operator<OpaqueAttributes> {
  return {
    name: `opaque ${titleOf(node)}`,
    onnx: node.opType,
    infer: () => results,
    emit({ graph, attributes: { opset, imports }, inputs, outputs }) {
      if (graph.opset !== opset) {
        throw new InputError(
          "core-gpu.programToModel",
          `opset must be ${opset} for the imported ${titleOf(node)}, which is written as it was read`,
          String(graph.opset),
          `Pass { opset: ${opset} }.`,
        );
      }
      const names = new Map(nodeReads(node).map((name, index) => [name, inputs[index]!]));
      const read = (name: string) => (name === "" ? "" : names.get(name)!);
      // Names made inside a body must be new; those captured from around it are the operands.
      const inside = (name: string): string => {
        if (name !== "" && !names.has(name)) names.set(name, graph.fresh(name));
        return read(name);
      };
      let result = 0;
      graph.append(
        changed(node, {
          name: outputs[0]!,
          input: node.input.map(read),
          output: node.output.map((name) => (name === "" ? "" : outputs[result++]!)),
          attribute:
            subgraphs(node).length === 0 ? node.attribute : node.attribute.map((entry) => renamed(entry, inside)),
        }),
        imports,
      );
    },
  };
}

function renamed(entry: NodeProto["attribute"][number], inside: (name: string) => string) {
  const copy = (body: GraphProto) => copyGraph(body, inside, "");
  return changed(entry, { graphs: entry.graphs.map(copy), ...(entry.g === undefined ? {} : { g: copy(entry.g) }) });
}

/** Applies an opaque node; its results are in the order of the node's named outputs. */
export function applyOpaque(
  node: NodeProto,
  operands: readonly Value[],
  results: readonly Spec[],
  surroundings: Omit<OpaqueAttributes, "node">,
): readonly Value[] {
  return apply(opaqueOperator(node, results), operands, { node, ...surroundings });
}
