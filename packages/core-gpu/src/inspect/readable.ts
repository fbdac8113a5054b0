import { create } from "@bufbuild/protobuf";
import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import { dtypeName } from "../onnx/dtypes.ts";
import { changed, type GraphIndex, indexModel, tensorNames } from "../onnx/graph.ts";
import type { Model } from "../onnx/model.ts";
import { quoted, uniqueName } from "../onnx/names.ts";
import {
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  type NodeProto,
  NodeProtoSchema,
  TensorProto_DataType,
} from "../onnx/onnx_pb.ts";
import { elementTypes } from "../onnx/types.ts";

const T = TensorProto_DataType;
const castable: ReadonlySet<number> = new Set([T.FLOAT16, T.BFLOAT16, T.DOUBLE]);
const quantised: ReadonlySet<number> = new Set([T.UINT8, T.INT8, T.UINT16, T.INT16]);

/** Where the inputs of a quantised operator hold the scale and the zero point of its result. */
const resultScales: ReadonlyMap<string, readonly [number, number]> = new Map([
  ["QuantizeLinear", [1, 2]],
  ["QLinearConv", [6, 7]],
  ["QLinearMatMul", [6, 7]],
  ["QGemm", [7, 8]],
  ["QLinearAdd", [6, 7]],
  ["QLinearMul", [6, 7]],
  ["QLinearConcat", [0, 1]],
  ["QLinearGlobalAveragePool", [3, 4]],
  ["QLinearAveragePool", [3, 4]],
  ["QLinearLeakyRelu", [3, 4]],
  ["QLinearSigmoid", [3, 4]],
  ["QLinearSoftmax", [3, 4]],
  ["QLinearReduceMean", [3, 4]],
  ["QLinearWhere", [7, 8]],
]);
/** Operators whose quantised result has the scale of their first input. */
const passing = new Set(["MaxPool", "Relu", "Reshape", "Transpose", "Flatten", "Identity", "Squeeze", "Unsqueeze"]);

/** A model in which some tensors can be read as float32, and what they are called there. */
export interface Readable {
  readonly model: Model;
  /** By the tensor's name the name of its float32 form: the tensor itself where it is one, else `name/float32`. */
  readonly names: ReadonlyMap<string, string>;
}

/**
 * Makes tensors of a model readable as float32: half precision through a Cast, quantised ones through a DequantizeLinear by
 * the scale their operator gives them. The way back is put behind it and everything reads on from there, so that the float32
 * tensor is a place to cut as the other was; both ways are exact, and the answers are those of before.
 *
 * @throws InputError where the model has no such tensor, or it is of another type (whole numbers, text, a sequence).
 */
export function readable(caller: string, model: Model, tensors: readonly string[]): Readable {
  checkArguments("core-gpu.onnx.readable", { caller: [caller, "a string"], tensors: [tensors, "a list"] });
  const index = indexModel(caller, model);
  const types = elementTypes(index.graph);
  const taken = tensorNames(index);
  const names = new Map<string, string>();
  const put = new Map<string, readonly NodeProto[]>();
  const renamed = new Map<string, string>();
  for (const tensor of tensors) {
    const type = types.get(tensor);
    if (type === undefined || type === T.FLOAT) {
      names.set(tensor, tensor);
      continue;
    }
    const name = uniqueName(`${tensor}/float32`, taken);
    const back = uniqueName(`${tensor}/again`, taken);
    put.set(tensor, between(caller, index, tensor, type, name, back));
    names.set(tensor, name);
    renamed.set(tensor, back);
  }
  if (renamed.size === 0) return { model, names };
  const rename = (name: string): string => renamed.get(name) ?? name;
  const node = index.graph.node.flatMap((entry) => {
    const reads = entry.input.some((name) => renamed.has(name));
    const same = reads ? changed(entry, { input: entry.input.map(rename) }) : entry;
    return [same, ...entry.output.flatMap((name) => put.get(name) ?? [])];
  });
  return { model: { proto: changed(model.proto, { graph: changed(index.graph, { node }) }) }, names };
}

/** The nodes from a tensor to float32 and back. */
function between(
  caller: string,
  index: GraphIndex,
  tensor: string,
  type: number,
  name: string,
  back: string,
): readonly NodeProto[] {
  const made = (opType: string, input: string[], output: string, to?: number) =>
    create(NodeProtoSchema, {
      opType,
      name: output,
      input,
      output: [output],
      attribute:
        to === undefined ? [] : [create(AttributeProtoSchema, { name: "to", type: AttributeType.INT, i: BigInt(to) })],
    });
  if (castable.has(type)) return [made("Cast", [tensor], name, T.FLOAT), made("Cast", [name], back, type)];
  const scale = quantised.has(type) ? scaleOf(index, tensor) : undefined;
  if (scale === undefined) {
    const fix = "Choose a tensor of floats, or export the network in float32.";
    const actual = `${quoted(tensor)}, which is ${type === 0 ? "no tensor" : dtypeName(type)}`;
    throw new InputError(caller, "an exit must read a tensor that has a float32 form", actual, fix);
  }
  return [made("DequantizeLinear", [tensor, ...scale], name), made("QuantizeLinear", [name, ...scale], back)];
}

/** Names of the scale and zero point of a quantised tensor. */
function scaleOf({ graph, producer }: GraphIndex, tensor: string): readonly string[] | undefined {
  for (let name = tensor; ; ) {
    const node = graph.node[producer.get(name) ?? -1];
    if (node === undefined) return undefined;
    const places = resultScales.get(node.opType);
    if (places !== undefined) {
      const found = places.map((place) => node.input[place] ?? "");
      return found[0] === "" ? undefined : found.filter((input) => input !== "");
    }
    const [input] = node.input;
    if (!passing.has(node.opType) || input === undefined) return undefined;
    name = input;
  }
}
