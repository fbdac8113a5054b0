import { InputError } from "../errors.ts";
import type { DType } from "../tensor.ts";
import type { TypeProto, TypeProto_Tensor } from "./onnx_pb.ts";
import { TensorProto_DataType } from "./onnx_pb.ts";

/** A type message that describes a dense tensor. */
export type TensorType = TypeProto & { value: { case: "tensorType"; value: TypeProto_Tensor } };

/** Our name of an ONNX element type: `float32` and `float64` for FLOAT and DOUBLE, else ONNX's name in lower case. */
export function dtypeName(elementType: number): string {
  if (elementType === TensorProto_DataType.FLOAT) return "float32";
  if (elementType === TensorProto_DataType.DOUBLE) return "float64";
  return TensorProto_DataType[elementType]?.toLowerCase() ?? `type${elementType}`;
}

/** The number of a dtype in the ONNX standard. */
export function dataTypeOf(dtype: DType): number {
  const type = dataTypes[dtype] as number | undefined;
  if (type !== undefined) return type;
  throw new InputError(
    "core-gpu.onnx.dataTypeOf",
    `dtype must be one of ${Object.keys(dataTypes).join(", ")}`,
    `${dtype}`,
  );
}

/** Name of a value's type: the element type of a tensor, else the kind of container. */
export function typeName(type: TypeProto | undefined): string {
  if (isTensorType(type)) return dtypeName(type.value.value.elemType);
  return type?.value.case?.replace("Type", "").replace("sparseTensor", "sparse") ?? "undefined";
}

/** Whether a type describes a dense tensor. */
export function isTensorType(type: TypeProto | undefined): type is TensorType {
  return type?.value.case === "tensorType";
}

/** Bits an element of a weight takes in `raw_data`; undefined where that is not fixed (strings) or not known. */
export function bitsPerElement(elementType: number): number | undefined {
  return bits.get(elementType);
}

const T = TensorProto_DataType;
const dataTypes: Readonly<Record<DType, TensorProto_DataType>> = {
  float32: T.FLOAT,
  float64: T.DOUBLE,
  int32: T.INT32,
  int64: T.INT64,
  uint8: T.UINT8,
  bool: T.BOOL,
};
const bits: ReadonlyMap<number, number> = new Map([
  [T.FLOAT, 32],
  [T.UINT8, 8],
  [T.INT8, 8],
  [T.UINT16, 16],
  [T.INT16, 16],
  [T.INT32, 32],
  [T.INT64, 64],
  [T.BOOL, 8],
  [T.FLOAT16, 16],
  [T.DOUBLE, 64],
  [T.UINT32, 32],
  [T.UINT64, 64],
  [T.COMPLEX64, 64],
  [T.COMPLEX128, 128],
  [T.BFLOAT16, 16],
  [T.FLOAT8E4M3FN, 8],
  [T.FLOAT8E4M3FNUZ, 8],
  [T.FLOAT8E5M2, 8],
  [T.FLOAT8E5M2FNUZ, 8],
  [T.FLOAT8E8M0, 8],
  [T.UINT4, 4],
  [T.INT4, 4],
  [T.FLOAT4E2M1, 4],
  [T.UINT2, 2],
  [T.INT2, 2],
]);
