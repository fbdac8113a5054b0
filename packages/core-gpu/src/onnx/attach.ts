import { create } from "@bufbuild/protobuf";
import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import { dtypeName, isTensorType } from "./dtypes.ts";
import { changed, indexModel, tensorNames } from "./graph.ts";
import type { Model } from "./model.ts";
import { describeModel } from "./model.ts";
import { list, quoted, suggestion, uniqueName } from "./names.ts";
import type { AttributeProto, GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto } from "./onnx_pb.ts";
import { TensorShapeProto_DimensionSchema } from "./onnx_pb.ts";
import { subgraphs } from "./reads.ts";
import { elementTypes } from "./types.ts";

/** How {@link attachModel} joins a part to a model. */
export interface Wiring {
  /** Put with a slash before the names of the part's nodes and tensors. Not empty. */
  readonly prefix: string;
  /** For each input of the part, the tensor of the model that it reads. */
  readonly inputs: Readonly<Record<string, string>>;
}

/** A model with a part attached. */
export interface Attached {
  readonly model: Model;
  /** For each output of the part, the name of its tensor in the model. */
  readonly outputs: Readonly<Record<string, string>>;
}

/**
 * Copies a part (an exit's head, say) into a model's graph, reading tensors of the model. The part's outputs become
 * tensors of the model but not outputs of it; use `addTaps` for that.
 *
 * Names are put under `prefix`, and made unique where they are taken. Both models must import the same version of the
 * operator sets they share; sets that only the part uses are added.
 *
 * @throws InputError on an input of the part that is not wired or wired to an unknown tensor, a wiring for an input the
 * part does not have, element types that differ, different operator set versions, or model-local functions of one name.
 * @example
 * ```ts
 * import { addTaps, attachModel, ops, programToModel, readModelFile, spec, trace } from "@exitkit/core-gpu";
 * const network = await readModelFile("network.onnx");
 * const head = trace(({ x }) => ({ sum: ops.sum(x, { axes: [1, 2, 3] }) }), { x: spec("float32", ["n", 4, 8, 8]) });
 * const part = programToModel(head, { opset: 17 });
 * const { model, outputs } = attachModel(network, part, { prefix: "exit0", inputs: { x: "/one/Relu_1_output_0" } });
 * const withHead = addTaps(model, [outputs.sum!]);
 * console.assert(withHead.proto.graph?.output.length === 2);
 * ```
 */
export function attachModel(model: Model, part: Model, wiring: Wiring): Attached {
  const caller = "core-gpu.attachModel";
  checkArguments(caller, { wiring: [wiring, { prefix: "a string", inputs: "an object" }] });
  const index = indexModel(caller, model);
  const partGraph = indexModel(caller, part).graph;
  checkWiring(caller, model, part, wiring);
  const taken = tensorNames(index);
  for (const node of index.graph.node) for (const body of subgraphs(node)) innerNames(body, taken);
  const renamed = new Map(Object.entries(wiring.inputs));
  const fresh = (name: string): string => {
    if (name === "") return "";
    const known = renamed.get(name);
    if (known !== undefined) return known;
    const made = uniqueName(`${wiring.prefix}/${name}`, taken);
    renamed.set(name, made);
    return made;
  };
  const copy = copyGraph(partGraph, fresh, `${wiring.prefix}/`);
  const graph = changed(index.graph, {
    node: [...index.graph.node, ...copy.node],
    initializer: [...index.graph.initializer, ...copy.initializer],
    sparseInitializer: [...index.graph.sparseInitializer, ...copy.sparseInitializer],
    // The types of the part's outputs are stated too: nothing else may tell them.
    valueInfo: [
      ...index.graph.valueInfo,
      ...[...copy.valueInfo, ...copy.output].filter(
        ({ name, type }) => type !== undefined && !Object.values(wiring.inputs).includes(name),
      ),
    ],
    quantizationAnnotation: [...index.graph.quantizationAnnotation, ...copy.quantizationAnnotation],
  });
  const proto = changed(model.proto, {
    graph: changed(graph, { valueInfo: withoutRepeats(graph.valueInfo) }),
    opsetImport: mergeOpsets(caller, model.proto, part.proto),
    functions: mergeFunctions(caller, model.proto, part.proto),
    // From version 4 on, initializers need not be listed as inputs.
    irVersion: [model.proto.irVersion, part.proto.irVersion, 4n].reduce((a, b) => (a > b ? a : b)),
  });
  return { model: { proto }, outputs: Object.fromEntries(partGraph.output.map(({ name }) => [name, fresh(name)])) };
}

function checkWiring(caller: string, model: Model, part: Model, { prefix, inputs }: Wiring): void {
  if (prefix === "") throw new InputError(caller, "prefix must not be empty", '""');
  const wanted = describeModel(part).inputs;
  const index = indexModel(caller, model);
  const known = tensorNames(index);
  for (const name of Object.keys(inputs)) {
    const names = wanted.map((input) => input.name);
    if (!names.includes(name)) {
      throw new InputError(caller, "inputs must name inputs of the part", quoted(name), suggestion(name, names));
    }
  }
  const types = elementTypes(index.graph);
  for (const { name, dtype } of wanted) {
    const from = inputs[name];
    if (from === undefined) {
      const fix = `Name the tensor it reads: inputs: { ${quoted(name)}: "..." }.`;
      throw new InputError(caller, "every input of the part must be wired", `none for ${quoted(name)}`, fix);
    }
    if (!known.has(from)) {
      const expectation = `input ${quoted(name)} of the part must read a tensor of the model`;
      throw new InputError(caller, expectation, quoted(from), suggestion(from, known));
    }
    const type = types.get(from);
    if (type !== undefined && dtype !== "undefined" && dtypeName(type) !== dtype) {
      const expectation = `input ${quoted(name)} of the part must read a ${dtype} tensor`;
      throw new InputError(
        caller,
        expectation,
        `${quoted(from)}, which is ${type === 0 ? "no tensor" : dtypeName(type)}`,
      );
    }
  }
}

/** Adds every name inside a subgraph. */
export function innerNames(graph: GraphProto, names: Set<string>): void {
  for (const { name } of [...graph.input, ...graph.initializer]) names.add(name);
  for (const node of graph.node) {
    for (const name of node.output) names.add(name);
    for (const body of subgraphs(node)) innerNames(body, names);
  }
}

/** The graph with every tensor renamed, in subgraphs too, and every node put under the prefix. */
export function copyGraph(graph: GraphProto, rename: (name: string) => string, prefix: string): GraphProto {
  checkArguments("core-gpu.onnx.copyGraph", {
    graph: [graph, { node: "a list" }],
    rename: [rename, "a function"],
    prefix: [prefix, "a string"],
  });
  const attribute = (entry: AttributeProto): AttributeProto => {
    if (entry.g === undefined && entry.graphs.length === 0) return entry;
    const graphs = entry.graphs.map((body) => copyGraph(body, rename, prefix));
    return changed(entry, entry.g === undefined ? { graphs } : { g: copyGraph(entry.g, rename, prefix), graphs });
  };
  const node = (entry: NodeProto): NodeProto =>
    changed(entry, {
      name: entry.name === "" ? "" : prefix + entry.name,
      input: entry.input.map(rename),
      output: entry.output.map(rename),
      attribute: entry.attribute.map(attribute),
    });
  const value = (entry: ValueInfoProto): ValueInfoProto => withoutSymbols(changed(entry, { name: rename(entry.name) }));
  return changed(graph, {
    node: graph.node.map(node),
    initializer: graph.initializer.map((weight) => changed(weight, { name: rename(weight.name) })),
    sparseInitializer: graph.sparseInitializer.map((weight) =>
      weight.values === undefined
        ? weight
        : changed(weight, { values: changed(weight.values, { name: rename(weight.values.name) }) }),
    ),
    input: graph.input.map(value),
    output: graph.output.map(value),
    valueInfo: graph.valueInfo.map(value),
    quantizationAnnotation: graph.quantizationAnnotation.map((entry) =>
      changed(entry, {
        tensorName: rename(entry.tensorName),
        quantParameterTensorNames: entry.quantParameterTensorNames.map((parameter) =>
          changed(parameter, { value: rename(parameter.value) }),
        ),
      }),
    ),
  });
}

/** Symbolic dimensions of the part may have names that mean something else in the model; they are left open instead. */
function withoutSymbols(info: ValueInfoProto): ValueInfoProto {
  const { type } = info;
  if (!isTensorType(type) || type.value.value.shape === undefined) return info;
  const { shape } = type.value.value;
  const dim = shape.dim.map((size) =>
    size.value.case === "dimParam" ? create(TensorShapeProto_DimensionSchema, {}) : size,
  );
  const value = changed(type.value.value, { shape: changed(shape, { dim }) });
  return changed(info, { type: changed(type as TypeProto, { value: { case: "tensorType", value } }) });
}

function withoutRepeats(values: readonly ValueInfoProto[]): ValueInfoProto[] {
  return [...new Map(values.map((value): [string, ValueInfoProto] => [value.name, value])).values()];
}

function mergeOpsets(caller: string, model: ModelProto, part: ModelProto): ModelProto["opsetImport"] {
  const standard = (domain: string) => (domain === "ai.onnx" ? "" : domain);
  const merged = [...model.opsetImport];
  for (const wanted of part.opsetImport) {
    const held = merged.find(({ domain }) => standard(domain) === standard(wanted.domain));
    if (held === undefined) merged.push(wanted);
    else if (held.version !== wanted.version) {
      const expectation = `the part must use operator set ${quoted(held.domain || "ai.onnx")} ${held.version}, as the model does`;
      throw new InputError(caller, expectation, String(wanted.version), "Build or export both for the same version.");
    }
  }
  return merged;
}

function mergeFunctions(caller: string, model: ModelProto, part: ModelProto): ModelProto["functions"] {
  const key = ({ domain, name, overload }: ModelProto["functions"][number]) => `${domain}:${name}:${overload}`;
  const held = new Map(model.functions.map((body) => [key(body), body]));
  const clashes = part.functions.filter((body) => held.has(key(body)) && held.get(key(body)) !== body);
  if (clashes.length > 0) {
    const names = list(clashes.map(({ name }) => name));
    throw new InputError(caller, "model-local functions of both must have different names", names);
  }
  return [...model.functions, ...part.functions.filter((body) => !held.has(key(body)))];
}
