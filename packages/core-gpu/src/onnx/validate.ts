import { InputError } from "../errors.ts";
import { bitsPerElement, dtypeName } from "./dtypes.ts";
import { list, quoted } from "./names.ts";
import type { AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto } from "./onnx_pb.ts";
import { TensorProto_DataLocation, TensorProto_DataType } from "./onnx_pb.ts";
import { subgraphs, weightNames } from "./reads.ts";

/**
 * Checks what every later step relies on: a graph with outputs; every tensor made once, before it is used; weights as
 * long as their shapes say; no weights in other files unless allowed.
 *
 * @throws InputError saying what is wrong and where.
 */
export function checkModel(caller: string, expectation: string, proto: ModelProto, allowExternalData: boolean): void {
  const refuse: Refuse = (actual, fix = "The file is damaged or was made by a faulty program; export it again.") => {
    throw new InputError(caller, expectation, actual, fix);
  };
  if (proto.graph === undefined) refuse("a message without a graph", "It is empty, cut short or another format.");
  if (proto.opsetImport.length === 0) refuse("a model that imports no operator set");
  for (const weight of allTensors(proto)) {
    if (isExternal(weight)) {
      if (!allowExternalData) refuseExternal(caller, expectation, weight);
    } else {
      checkWeight(weight, refuse);
    }
  }
  if (proto.graph.output.length === 0) refuse("a graph without outputs");
  checkGraph(proto.graph, undefined, refuse);
}

type Refuse = (actual: string, fix?: string) => never;

/** Names that can be seen at a place: those of the graph and of the graphs around it. */
interface Scope {
  readonly names: Set<string>;
  readonly outer: Scope | undefined;
}

function sees(scope: Scope | undefined, name: string): boolean {
  for (let at = scope; at !== undefined; at = at.outer) if (at.names.has(name)) return true;
  return false;
}

function checkGraph(graph: GraphProto, outer: Scope | undefined, refuse: Refuse): void {
  const where = outer === undefined ? "" : ` in subgraph ${quoted(graph.name)}`;
  const names = weightNames(graph);
  if (names.size !== graph.initializer.length + graph.sparseInitializer.length) {
    const all = graph.initializer.map(({ name }) => name);
    refuse(`two initializers named ${list(repeated(all))}${where}`);
  }
  const inputs = graph.input.map(({ name }) => name);
  if (repeated(inputs).length > 0) refuse(`two inputs named ${list(repeated(inputs))}${where}`);
  if (inputs.includes("") || names.has("")) refuse(`an input or initializer without a name${where}`);
  for (const name of inputs) names.add(name);
  const later = new Set(graph.node.flatMap(({ output }) => output));
  const scope: Scope = { names, outer };
  for (const node of graph.node) {
    const title = `${node.opType || "nameless operator"} node ${quoted(node.name || node.output[0] || "")}`;
    if (node.opType === "") refuse(`a node without an operator, ${title}${where}`);
    for (const name of node.input) if (name !== "" && !sees(scope, name)) refuseUse(title + where, name, later, refuse);
    for (const body of subgraphs(node)) checkGraph(body, scope, refuse);
    for (const name of node.output) {
      if (name === "") continue;
      if (names.has(name)) refuse(`tensor ${quoted(name)} made twice, again by ${title}${where}`);
      names.add(name);
    }
  }
  const outputs = graph.output.map(({ name }) => name);
  if (outer === undefined && repeated(outputs).length > 0) refuse(`two outputs named ${list(repeated(outputs))}`);
  for (const name of outputs) if (!sees(scope, name)) refuse(`output ${quoted(name)}, which nothing makes${where}`);
}

function refuseUse(title: string, name: string, later: ReadonlySet<string>, refuse: Refuse): void {
  if (!later.has(name)) refuse(`${title} reading ${quoted(name)}, which nothing makes`);
  refuse(
    `${title} reading ${quoted(name)} before it is made: a cycle, or nodes out of order`,
    "ONNX wants nodes in topological order; export the model again.",
  );
}

function repeated(names: readonly string[]): string[] {
  const seen = new Set<string>();
  const twice = new Set<string>();
  for (const name of names) (seen.has(name) ? twice : seen).add(name);
  return [...twice];
}

function checkWeight(weight: TensorProto, refuse: Refuse): void {
  const { dataType, dims } = weight;
  const title = `tensor ${quoted(weight.name)} (${dtypeName(dataType)} [${dims.slice(0, 8).join(", ")}])`;
  const size = dims.reduce((product, dimension) => product * Number(dimension), 1);
  if (dims.some((dimension) => dimension < 0n) || !Number.isSafeInteger(size)) {
    refuse(`${title} with impossible dimensions`);
  }
  const bits = bitsPerElement(dataType);
  if (bits === undefined && dataType !== TensorProto_DataType.STRING) {
    // A type newer than this reader: ONNX Runtime may know it, so only impossible numbers are refused.
    if (dataType <= 0) refuse(`${title} without an element type`);
    return;
  }
  if (weight.rawData.length > 0 && bits !== undefined) {
    const needed = Math.ceil((size * bits) / 8);
    if (weight.rawData.length !== needed) refuse(`${title} with ${weight.rawData.length} bytes; it needs ${needed}`);
    return;
  }
  const { length, needed } = typedData(weight, size, bits);
  if (length !== needed) refuse(`${title} with ${length} values; it needs ${needed}`);
}

/** Number of values in the typed field that belongs to the element type, and how many there should be. */
function typedData(weight: TensorProto, size: number, bits: number | undefined): { length: number; needed: number } {
  const T = TensorProto_DataType;
  switch (weight.dataType) {
    case T.STRING:
      return { length: weight.stringData.length, needed: size };
    case T.FLOAT:
      return { length: weight.floatData.length, needed: size };
    case T.COMPLEX64:
      return { length: weight.floatData.length, needed: 2 * size };
    case T.DOUBLE:
      return { length: weight.doubleData.length, needed: size };
    case T.COMPLEX128:
      return { length: weight.doubleData.length, needed: 2 * size };
    case T.INT64:
      return { length: weight.int64Data.length, needed: size };
    case T.UINT32:
    case T.UINT64:
      return { length: weight.uint64Data.length, needed: size };
    default:
      return { length: weight.int32Data.length, needed: Math.ceil(size / Math.max(1, Math.floor(8 / (bits ?? 8)))) };
  }
}

function isExternal(weight: TensorProto): boolean {
  return weight.dataLocation === TensorProto_DataLocation.EXTERNAL || weight.externalData.length > 0;
}

function refuseExternal(caller: string, expectation: string, weight: TensorProto): void {
  const location = weight.externalData.find(({ key }) => key === "location")?.value ?? "";
  throw new InputError(
    caller,
    `${expectation}, with its weights inside`,
    `tensor ${quoted(weight.name)} whose data lie in ${quoted(location)}`,
    "Export it with the weights inside (torch.onnx.export(..., external_data=False) or onnx.save), or pass allowExternalData: true to keep the reference.",
  );
}

/** Every tensor of a model: weights, those in attributes, in subgraphs, functions and training graphs. */
function* allTensors(proto: ModelProto): Generator<TensorProto> {
  if (proto.graph !== undefined) yield* graphTensors(proto.graph);
  for (const body of proto.functions) {
    yield* nodeTensors(body.node);
    yield* attributeTensors(body.attributeProto);
  }
  for (const { initialization, algorithm } of proto.trainingInfo) {
    if (initialization !== undefined) yield* graphTensors(initialization);
    if (algorithm !== undefined) yield* graphTensors(algorithm);
  }
}

function* graphTensors(graph: GraphProto): Generator<TensorProto> {
  yield* graph.initializer;
  for (const sparse of graph.sparseInitializer) {
    if (sparse.values !== undefined) yield sparse.values;
    if (sparse.indices !== undefined) yield sparse.indices;
  }
  yield* nodeTensors(graph.node);
}

function* nodeTensors(nodes: readonly NodeProto[]): Generator<TensorProto> {
  for (const node of nodes) yield* attributeTensors(node.attribute);
}

function* attributeTensors(attributes: readonly AttributeProto[]): Generator<TensorProto> {
  for (const attribute of attributes) {
    if (attribute.t !== undefined) yield attribute.t;
    yield* attribute.tensors;
    for (const sparse of [attribute.sparseTensor, ...attribute.sparseTensors]) {
      if (sparse?.values !== undefined) yield sparse.values;
      if (sparse?.indices !== undefined) yield sparse.indices;
    }
    if (attribute.g !== undefined) yield* graphTensors(attribute.g);
    for (const graph of attribute.graphs) yield* graphTensors(graph);
  }
}
