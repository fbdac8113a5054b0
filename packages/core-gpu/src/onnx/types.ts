import { create } from "@bufbuild/protobuf";
import { isTensorType } from "./dtypes.ts";
import { attributeOf, isStandard } from "./graph.ts";
import type { GraphProto, NodeProto, ValueInfoProto } from "./onnx_pb.ts";
import { TensorProto_DataType, TypeProto_TensorSchema, TypeProtoSchema, ValueInfoProtoSchema } from "./onnx_pb.ts";
import { subgraphs } from "./reads.ts";

const T = TensorProto_DataType;

/** Element type (ONNX number) by name: 0 for what is no tensor (a sequence, say); what is not known is missing. */
export type ElementTypes = ReadonlyMap<string, number>;

/**
 * Element types of a graph's tensors: what the file states, and otherwise what follows from the operators. Only where a
 * cut needs the type of a tensor that the exporter did not write down; ONNX Runtime checks every type again on loading.
 */
export function elementTypes(graph: GraphProto, outer: ElementTypes = new Map()): ElementTypes {
  const types = new Map(outer);
  for (const { name, type } of [...graph.input, ...graph.output, ...graph.valueInfo]) {
    if (isTensorType(type) && type.value.value.elemType !== 0) types.set(name, type.value.value.elemType);
    else if (type?.value.case !== undefined && !isTensorType(type)) types.set(name, 0);
  }
  for (const { name, dataType } of graph.initializer) types.set(name, dataType);
  for (const { values } of graph.sparseInitializer) if (values !== undefined) types.set(values.name, values.dataType);
  const stated = new Set(types.keys());
  for (const node of graph.node) {
    node.output.forEach((name, place) => {
      const type = outputType(node, place, types);
      if (name !== "" && type !== undefined && !stated.has(name)) types.set(name, type);
    });
  }
  return types;
}

/** A graph input or output: as the file states it, else with the element type alone, else with just the name. */
export function valueInfo(graph: GraphProto, name: string, types?: ElementTypes): ValueInfoProto {
  const stated = [...graph.input, ...graph.output, ...graph.valueInfo].find((value) => value.name === name);
  if (stated !== undefined) return stated;
  const elemType = types?.get(name) ?? 0;
  if (elemType === 0) return create(ValueInfoProtoSchema, { name });
  const value = create(TypeProto_TensorSchema, { elemType });
  const type = create(TypeProtoSchema, { value: { case: "tensorType", value } });
  return create(ValueInfoProtoSchema, { name, type });
}

const booleans = "Equal Greater GreaterOrEqual Less LessOrEqual And Or Xor Not IsNaN IsInf".split(" ");
const indices = "Shape Size ArgMax ArgMin NonZero".split(" ");
const containers =
  "SequenceConstruct SequenceEmpty SequenceInsert SequenceErase SplitToSequence SequenceMap Optional".split(" ");
const fixed: ReadonlyMap<string, number> = new Map([
  ...booleans.map((op): [string, number] => [op, T.BOOL]),
  ...indices.map((op): [string, number] => [op, T.INT64]),
  ["ConvInteger", T.INT32],
  ["MatMulInteger", T.INT32],
]);
/** The input whose type the first output has, where it is not the first. */
const follows: ReadonlyMap<string, number> = new Map([
  ["Where", 1],
  ["CastLike", 1],
  ["OneHot", 2],
  ["DequantizeLinear", 1],
  ["QLinearConv", 7],
  ["QLinearMatMul", 7],
]);

function outputType(node: NodeProto, place: number, types: ElementTypes): number | undefined {
  const like = (input: number): number | undefined => types.get(node.input[input] ?? "");
  if (!isStandard(node)) return like(0);
  const attribute = (name: string) => attributeOf(node, name);
  const op = node.opType;
  if (containers.includes(op)) return 0;
  if (like(0) === 0 && op !== "Identity") return op === "SequenceLength" ? T.INT64 : undefined;
  const body = subgraphs(node)[0];
  if (body !== undefined) {
    // The body of a Loop returns its condition first, which is not an output of the node.
    const output = body.output[op === "Loop" ? place + 1 : place]?.name;
    return elementTypes(body, types).get(output ?? "");
  }
  if (op === "Constant") return constantType(node);
  if (op === "ConstantOfShape") return attribute("value")?.t?.dataType ?? T.FLOAT;
  if (op === "Cast") return Number(attribute("to")?.i ?? 0n) || undefined;
  if (op.startsWith("Random") || op === "EyeLike" || op === "Bernoulli" || op === "Multinomial") {
    const dtype = Number(attribute("dtype")?.i ?? 0n);
    return dtype || (op === "Multinomial" ? T.INT32 : (like(0) ?? T.FLOAT));
  }
  if (op === "QuantizeLinear") return like(2) ?? T.UINT8;
  if (op === "DynamicQuantizeLinear") return place === 1 ? T.FLOAT : T.UINT8;
  if (place > 0 && (op === "TopK" || op === "MaxPool" || op === "Unique")) return T.INT64;
  if (place > 0 && op === "Dropout") return T.BOOL;
  if (place > 0 && op === "LayerNormalization") return T.FLOAT;
  return fixed.get(op) ?? like(follows.get(op) ?? 0);
}

function constantType(node: NodeProto): number | undefined {
  const attribute = node.attribute[0];
  if (attribute === undefined) return undefined;
  const names = new Map<string, number>([
    ["value_float", T.FLOAT],
    ["value_floats", T.FLOAT],
    ["value_int", T.INT64],
    ["value_ints", T.INT64],
    ["value_string", T.STRING],
    ["value_strings", T.STRING],
  ]);
  return attribute.t?.dataType ?? attribute.sparseTensor?.values?.dataType ?? names.get(attribute.name);
}
