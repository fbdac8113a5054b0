import { checkArguments } from "./arguments.ts";
import { InputError } from "./errors.ts";

/** Element types of host tensors. `bool` is stored as one byte, 0 or 1; `int64` as `bigint`s. */
export type DType = "float32" | "float64" | "int32" | "int64" | "uint8" | "bool";

interface DataOf {
  float32: Float32Array;
  float64: Float64Array;
  int32: Int32Array;
  int64: BigInt64Array;
  uint8: Uint8Array;
  bool: Uint8Array;
}

/** The typed array that holds a tensor of the given dtype. */
export type TensorData<D extends DType = DType> = DataOf[D];

/**
 * A host tensor: dtype, shape and a typed array of its elements in row-major order. A plain readonly record; the data
 * may be a view into a larger buffer. `Tensor` without argument is the union over all dtypes and narrows on `dtype`.
 */
export type Tensor<D extends DType = DType> = D extends DType
  ? { readonly dtype: D; readonly shape: readonly number[]; readonly data: DataOf[D] }
  : never;

const arrays = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const;

const dtypes = Object.keys(arrays).join(", ");

/** Bytes an element takes: 8 for float64 and int64, 4 for float32 and int32, 1 for uint8 and bool. */
export function bytesPerElement(dtype: DType): number {
  const array = arrays[dtype] as (typeof arrays)[DType] | undefined;
  if (array !== undefined) return array.BYTES_PER_ELEMENT;
  throw new InputError("core-gpu.bytesPerElement", `dtype must be one of ${dtypes}`, `"${String(dtype)}"`);
}

/** Number of elements of a shape: the product of its dimensions, 1 for a scalar `[]`. */
export function sizeOf(shape: readonly number[]): number {
  // Called for every tensor that passes: nothing is made for the check.
  if (!Array.isArray(shape)) checkArguments("core-gpu.sizeOf", { shape: [shape, "a shape"] });
  return shape.reduce((size, dimension) => size * dimension, 1);
}

/**
 * Makes a tensor of a dtype and shape from a typed array (kept, not copied) or from a list of numbers (copied).
 *
 * @param data Row-major elements; as many as the product of `shape`. Left out: zeros.
 * @throws InputError on an unknown dtype, a dimension that is not a whole number ≥ 0, a typed array of another dtype, or
 * a wrong number of elements.
 * @example
 * ```ts
 * import { tensor } from "@exitkit/core-gpu";
 * const x = tensor("float32", [2, 3], [1, 2, 3, 4, 5, 6]);
 * console.assert(x.data.length === 6);
 * ```
 */
export function tensor<D extends DType>(
  dtype: D,
  shape: readonly number[],
  data?: TensorData<D> | readonly (number | bigint | boolean)[],
): Tensor<D> {
  const caller = "core-gpu.tensor";
  checkArguments(caller, { shape: [shape, "a shape"] });
  const Data = arrays[dtype] as (typeof arrays)[DType] | undefined;
  if (Data === undefined) {
    throw new InputError(caller, `dtype must be one of ${dtypes}`, `"${String(dtype)}"`);
  }
  for (const dimension of shape) {
    if (!Number.isSafeInteger(dimension) || dimension < 0) {
      throw new InputError(caller, "every dimension must be a whole number ≥ 0", `shape [${shape.join(", ")}]`);
    }
  }
  const size = sizeOf(shape);
  const made = makeData(caller, dtype, Data, size, data);
  if (made.length !== size) {
    throw new InputError(
      caller,
      `shape [${shape.join(", ")}] needs ${size} elements`,
      `${made.length}`,
      "Pass the shape the data has, or reshape it first.",
    );
  }
  return { dtype, shape: [...shape], data: made } as unknown as Tensor<D>;
}

function makeData(
  caller: string,
  dtype: DType,
  Data: (typeof arrays)[DType],
  size: number,
  data: TensorData | readonly (number | bigint | boolean)[] | undefined,
): TensorData {
  if (data === undefined) return new Data(size);
  if (ArrayBuffer.isView(data)) {
    if (data instanceof Data) return data as TensorData;
    throw new InputError(caller, `${dtype} elements must come in a ${Data.name}`, data.constructor.name);
  }
  if (dtype === "int64") return BigInt64Array.from(data.map((value) => BigInt(value)));
  const values = data.map(Number);
  return dtype === "bool"
    ? Uint8Array.from(values, (value) => (value === 0 ? 0 : 1))
    : (Data as typeof Float32Array).from(values);
}

/** A tensor as ONNX Runtime makes it: its shape is called `dims`, its dtype `type`; its data must be on the CPU. */
export interface RuntimeTensor {
  readonly dims: readonly number[];
  readonly type: string;
  readonly data: unknown;
}

/**
 * A tensor of ONNX Runtime in this library's words, sharing its data; any other value as it is, to be checked by who takes it.
 *
 * @throws InputError where its data are not on the CPU.
 * @example
 * ```ts
 * import { asTensor } from "@exitkit/core-gpu";
 * const x = asTensor({ dims: [1, 2], type: "float32", data: Float32Array.of(1, 2) });
 * console.assert(x.shape.join() === "1,2" && x.dtype === "float32");
 * ```
 */
export function asTensor(value: Tensor | RuntimeTensor): Tensor {
  // Whatever a caller in plain JavaScript passes comes by here.
  const given = value as Partial<RuntimeTensor & Tensor> | null | undefined;
  if (!Array.isArray(given?.dims) || given.shape !== undefined) return value as Tensor;
  let data: unknown;
  try {
    data = given.data;
  } catch (error) {
    const fix = "Read it first: await tensor.getData().";
    throw new InputError(
      "core-gpu.asTensor",
      "a tensor's data must be on the CPU",
      "one that is elsewhere",
      fix,
      error,
    );
  }
  return { dtype: given.type, shape: given.dims, data } as unknown as Tensor;
}

/**
 * Rows `from` (included) to `to` (excluded) along the first dimension, as a view that shares the data.
 *
 * @throws InputError when the tensor is a scalar or the range does not lie within its rows.
 */
export function rows<T extends Tensor>(value: T, from: number, to: number): T {
  checkArguments("core-gpu.rows", { value: [value, "a tensor"] });
  const n = value.shape[0];
  if (n === undefined || !(from >= 0 && from <= to && to <= n)) {
    throw new InputError("core-gpu.rows", `0 ≤ from ≤ to ≤ ${n ?? "(a tensor with rows)"}`, `rows ${from} to ${to}`);
  }
  const width = sizeOf(value.shape.slice(1));
  return { ...value, shape: [to - from, ...value.shape.slice(1)], data: value.data.subarray(from * width, to * width) };
}
