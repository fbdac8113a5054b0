import { create } from "@bufbuild/protobuf";
import { attributeOf } from "../onnx/graph.ts";
import {
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProto_DataType,
  TensorProtoSchema,
} from "../onnx/onnx_pb.ts";

const { FLOAT, INT8, UINT8, INT32 } = TensorProto_DataType;

/** A float32 initializer. */
export function floats(name: string, dims: readonly number[], data: Float32Array): TensorProto {
  return weight(name, FLOAT, dims, data);
}

/** An int8 initializer. */
export function int8s(name: string, dims: readonly number[], data: Int8Array): TensorProto {
  return weight(name, INT8, dims, data);
}

/** A uint8 initializer. */
export function uint8s(name: string, dims: readonly number[], data: Uint8Array): TensorProto {
  return weight(name, UINT8, dims, data);
}

/** An int32 initializer. */
export function int32s(name: string, dims: readonly number[], data: Int32Array): TensorProto {
  return weight(name, INT32, dims, data);
}

function weight(name: string, dataType: number, dims: readonly number[], data: ArrayBufferView): TensorProto {
  const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
  return create(TensorProtoSchema, { name, dataType, dims: dims.map(BigInt), rawData });
}

/** A node named after its output and operator. */
export function node(
  opType: string,
  input: readonly string[],
  output: string,
  attributes: Readonly<Record<string, number>> = {},
  domain = "",
): NodeProto {
  const attribute = Object.entries(attributes).map(([name, value]) =>
    create(AttributeProtoSchema, { name, type: AttributeType.INT, i: BigInt(value) }),
  );
  return create(NodeProtoSchema, {
    name: `${output}/${opType}`,
    opType,
    domain,
    input: [...input],
    output: [output],
    attribute,
  });
}

/** A whole-number attribute of a node. */
export function intOf(node: NodeProto, name: string, otherwise: number): number {
  const found = attributeOf(node, name);
  return found === undefined ? otherwise : Number(found.i);
}

/** A float attribute of a node. */
export function floatOf(node: NodeProto, name: string, otherwise: number): number {
  return attributeOf(node, name)?.f ?? otherwise;
}

/** What to call a node: its name, else its first output. */
export function titleOf({ name, output }: NodeProto): string {
  return name === "" ? (output[0] ?? "") : name;
}
