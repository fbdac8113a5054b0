import { asTensor, InputError, type RuntimeTensor, type Tensor } from "@exitkit/core-gpu";

/** A column of numbers, one a sample: values, or a tensor of them, ONNX Runtime's included. */
export type Column = Values | Tensor | RuntimeTensor;

/** The values of a column: an array, or a typed array as files give it (`BigInt64Array` for int64). */
export type Values =
  | readonly number[]
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array;

/** A column of which every element was checked. */
export type Reals = Float32Array | Float64Array;

/** Largest number of samples, and of an id plus one. */
const MOST = 2 ** 31;

function isValues(value: unknown): value is Values {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView) && "length" in value);
}

/** The values of a column of n samples. */
function valuesOf(caller: string, name: string, column: Column, n: number | undefined): Values {
  const tensor = asTensor(column as Tensor);
  const values = isValues(column) ? column : tensor?.data;
  if (!isValues(values)) {
    const actual = column === null ? "null" : typeof column;
    throw new InputError(caller, `${name} must be a column of numbers, one a sample`, actual);
  }
  if (values.length === 0) throw new InputError(caller, `${name} must have at least one sample`, "none");
  if (n === undefined || values.length === n) return values;
  const fix = "All columns must be of the same samples, in the same order.";
  throw new InputError(caller, `${name} must have ${n} elements, as labels has`, `${values.length}`, fix);
}

/**
 * Whole numbers of 0 … below − 1.
 *
 * @throws InputError naming the first element that is none, or another length than n.
 */
export function integers(
  caller: string,
  name: string,
  column: Column,
  { n, below = MOST }: { readonly n?: number; readonly below?: number } = {},
): Int32Array<ArrayBuffer> {
  const values = valuesOf(caller, name, column, n);
  const made = new Int32Array(values.length);
  for (let i = 0; i < made.length; i++) {
    const value = Number(values[i]);
    if (!(value >= 0 && value < below && Number.isInteger(value))) {
      const expectation = `${name} must be whole numbers of 0 to ${below - 1}`;
      throw new InputError(caller, expectation, `${String(values[i])} in row ${i}`);
    }
    made[i] = value;
  }
  return made;
}

/**
 * Numbers of `from` to `to`, both included.
 *
 * @throws InputError naming the first element that is none (NaN, infinite, outside), or another length than n.
 */
export function reals(
  caller: string,
  name: string,
  column: Column,
  { n, from = -Number.MAX_VALUE, to = Number.MAX_VALUE }: { n?: number; from?: number; to?: number } = {},
): Reals {
  const values = valuesOf(caller, name, column, n);
  const made = values instanceof Float32Array || values instanceof Float64Array ? values : toFloat64(values);
  for (let i = 0; i < made.length; i++) {
    if (made[i]! >= from && made[i]! <= to) continue;
    const range = to === Number.MAX_VALUE ? (from === 0 ? "finite and ≥ 0" : "finite") : `from ${from} to ${to}`;
    throw new InputError(caller, `${name} must be ${range}`, `${made[i]} in row ${i}`);
  }
  return made;
}

function toFloat64(column: Values): Float64Array {
  const made = new Float64Array(column.length);
  for (let i = 0; i < made.length; i++) made[i] = Number(column[i]);
  return made;
}
