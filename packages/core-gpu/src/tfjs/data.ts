import { InputError } from "../errors.ts";
import type { DType, Tensor } from "../tensor.ts";
import type { Tfjs, TfjsDType, TfjsTensor } from "./tfjs.ts";

/** The dtype that stands for one of ours in tfjs, which has no int64, uint8 or float64; null where there is none. */
export function tfjsDType(dtype: DType): TfjsDType | null {
  if (dtype === "float64") return null;
  return dtype === "float32" || dtype === "bool" ? dtype : "int32";
}

/**
 * A copy of a host tensor in tfjs. int64 becomes int32.
 *
 * @throws InputError on an int64 that does not fit and on float64.
 */
export function toTfjs(caller: string, tf: Tfjs, what: string, { dtype, shape, data }: Tensor): TfjsTensor {
  const as = tfjsDType(dtype);
  if (as === null) {
    throw new InputError(caller, `${what} must have a dtype that tfjs has`, dtype, "Use float32.");
  }
  const values =
    dtype === "int64" ? narrowed(caller, what, data) : dtype === "uint8" ? Int32Array.from(data) : data.slice();
  return tf.tensor(values as Float32Array, [...shape], as);
}

function narrowed(caller: string, what: string, data: BigInt64Array): Int32Array {
  const values = new Int32Array(data.length);
  data.forEach((value, at) => {
    values[at] = Number(value);
    if (BigInt(values[at]!) !== value) {
      const fix = "tfjs has no int64; its whole numbers are int32.";
      throw new InputError(caller, `${what} must fit int32`, `${value} at element ${at}`, fix);
    }
  });
  return values;
}

/** A copy of a tfjs tensor on the host. */
export async function fromTfjs(value: TfjsTensor, dtype: DType): Promise<Tensor> {
  const data = (await value.data()) as Float32Array | Int32Array | Uint8Array;
  const shape = [...value.shape];
  if (dtype === "int64") return { dtype, shape, data: BigInt64Array.from(data, BigInt) };
  if (dtype === "uint8" || dtype === "bool") return { dtype, shape, data: Uint8Array.from(data) };
  if (dtype === "int32") return { dtype, shape, data: Int32Array.from(data) };
  return { dtype, shape, data: Float32Array.from(data) } as Tensor;
}
