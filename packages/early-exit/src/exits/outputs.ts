import { type Model, onnx } from "@exitkit/core-gpu";

/** The model with only some of its outputs. The types of the others stay stated: nothing else may tell them. */
export function onlyOutputs(model: Model, names: Iterable<string>): Model {
  const wanted = new Set(names);
  const graph = model.proto.graph!;
  const stated = new Set(graph.valueInfo.map(({ name }) => name));
  const former = graph.output.filter(({ name, type }) => type !== undefined && !wanted.has(name) && !stated.has(name));
  const output = graph.output.filter(({ name }) => wanted.has(name));
  const valueInfo = [...graph.valueInfo, ...former];
  return { proto: onnx.changed(model.proto, { graph: onnx.changed(graph, { output, valueInfo }) }) };
}
