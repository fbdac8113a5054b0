import { changed } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import { uniqueName } from "../../onnx/names.ts";
import type { AttributeProto, FunctionProto, NodeProto } from "../../onnx/onnx_pb.ts";
import { subgraphs } from "../../onnx/reads.ts";

/**
 * The model with every call of a function of its own replaced by the function's nodes. Functions whose bodies hold graphs
 * stay calls.
 */
export function inlineFunctions(model: Model): Model {
  const { graph, functions } = model.proto;
  if (graph === undefined || functions.length === 0) return model;
  const byName = new Map(
    functions
      .filter(({ node }) => node.every((inner) => subgraphs(inner).length === 0))
      .map((body): [string, FunctionProto] => [keyOf(body.domain, body.name, body.overload), body]),
  );
  const taken = new Set([
    ...graph.node.flatMap(({ output }) => output),
    ...graph.input.map(({ name }) => name),
    ...graph.initializer.map(({ name }) => name),
  ]);
  const inline = (node: NodeProto): NodeProto[] => {
    const body = byName.get(keyOf(node.domain, node.opType, node.overload));
    if (body === undefined) return [node];
    return call(node, body, taken).flatMap(inline);
  };
  return { proto: changed(model.proto, { graph: changed(graph, { node: graph.node.flatMap(inline) }) }) };
}

function keyOf(domain: string, name: string, overload: string): string {
  return `${domain}:${name}:${overload}`;
}

/** The body's nodes with the call's operands, results and attributes in place of the function's. */
function call(node: NodeProto, body: FunctionProto, taken: Set<string>): NodeProto[] {
  const names = new Map<string, string>([["", ""]]);
  body.input.forEach((name, place) => {
    names.set(name, node.input[place] ?? "");
  });
  body.output.forEach((name, place) => {
    if ((node.output[place] ?? "") !== "") names.set(name, node.output[place]!);
  });
  const rename = (name: string): string => {
    if (!names.has(name)) names.set(name, uniqueName(`${node.output[0]}/${name}`, taken));
    return names.get(name)!;
  };
  const given = new Map<string, AttributeProto>(
    [...body.attributeProto, ...node.attribute].map((attribute) => [attribute.name, attribute]),
  );
  return body.node.map((inner) =>
    changed(inner, {
      name: `${node.name || node.output[0]}/${inner.name || inner.opType}`,
      input: inner.input.map(rename),
      output: inner.output.map(rename),
      attribute: inner.attribute.flatMap((attribute) => {
        if (attribute.refAttrName === "") return [attribute];
        const value = given.get(attribute.refAttrName);
        return value === undefined ? [] : [changed(value, { name: attribute.name })];
      }),
    }),
  );
}
