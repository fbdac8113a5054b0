import { checkArguments } from "../../arguments.ts";
import { InputError } from "../../errors.ts";
import { dtypeName } from "../../onnx/dtypes.ts";
import { quoted } from "../../onnx/names.ts";
import { type NodeProto, type TensorProto, TensorProto_DataLocation } from "../../onnx/onnx_pb.ts";
import { bytesPerElement, type DType, sizeOf, type Tensor, type TensorData, tensor } from "../../tensor.ts";

const dtypes: ReadonlySet<string> = new Set<DType>(["float32", "float64", "int32", "int64", "uint8", "bool"]);

/** Whether host tensors can hold an ONNX element type. */
export function isHostType(elementType: number): boolean {
  return dtypes.has(dtypeName(elementType));
}

/**
 * A tensor message as a host tensor; its data may be a view of the message's bytes.
 *
 * @throws InputError on an element type host tensors cannot hold, and on data that lie in another file.
 */
export function hostTensor(caller: string, message: TensorProto): Tensor {
  checkArguments("core-gpu.onnx.hostTensor", { caller: [caller, "a string"], message: [message, { dims: "a list" }] });
  const dtype = dtypeName(message.dataType) as DType;
  const shape = message.dims.map(Number);
  if (message.dataLocation === TensorProto_DataLocation.EXTERNAL) {
    throw new InputError(
      caller,
      "weights must lie in the model",
      `${quoted(message.name)}, whose data lie in another file`,
    );
  }
  if (!isHostType(message.dataType)) {
    throw new InputError(
      caller,
      "constants must be float32, float64, int32, int64, uint8 or bool",
      `${quoted(message.name)}, ${dtypeName(message.dataType)}`,
      "Export the model in float32.",
    );
  }
  if (message.rawData.length > 0) return tensor(dtype, shape, view(dtype, message.rawData)) as Tensor;
  if (sizeOf(shape) === 0) return tensor(dtype, shape) as Tensor;
  return tensor(dtype, shape, typedField(dtype, message)) as Tensor;
}

function view(dtype: DType, bytes: Uint8Array): TensorData {
  const width = bytesPerElement(dtype);
  const aligned = bytes.byteOffset % width === 0 ? bytes : bytes.slice();
  const { constructor: Data } = tensor(dtype, [0]).data;
  const View = Data as new (buffer: ArrayBufferLike, offset: number, length: number) => TensorData;
  return new View(aligned.buffer, aligned.byteOffset, aligned.byteLength / width);
}

function typedField(dtype: DType, message: TensorProto): readonly (number | bigint)[] {
  if (dtype === "float32") return message.floatData;
  if (dtype === "float64") return message.doubleData;
  return dtype === "int64" ? message.int64Data : message.int32Data;
}

/** What a Constant node holds; undefined for other nodes. */
export function constantTensor(caller: string, node: NodeProto): Tensor | undefined {
  checkArguments("core-gpu.onnx.constantTensor", {
    caller: [caller, "a string"],
    node: [node, { opType: "a string" }],
  });
  if (node.opType !== "Constant" || node.domain !== "") return undefined;
  const attribute = node.attribute[0];
  switch (attribute?.name) {
    case "value":
      return attribute.t === undefined || !isHostType(attribute.t.dataType)
        ? undefined
        : hostTensor(caller, attribute.t);
    case "value_float":
      return tensor("float32", [], [attribute.f]);
    case "value_floats":
      return tensor("float32", [attribute.floats.length], attribute.floats);
    case "value_int":
      return tensor("int64", [], [attribute.i]);
    case "value_ints":
      return tensor("int64", [attribute.ints.length], attribute.ints);
    default:
      return undefined;
  }
}
