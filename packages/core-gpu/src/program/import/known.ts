import { type DType, sizeOf, type Tensor, tensor } from "../../tensor.ts";
import type { Dimension } from "../dimensions.ts";

/**
 * A small tensor whose elements are known when the program is traced: numbers (bools as 0 and 1), or symbolic sizes. What
 * exporters compute shapes with.
 */
export interface Known {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly elements: readonly Dimension[];
}

/** Larger tensors are computed by the program. */
export const knownLimit = 4096;

/** What is known of a host tensor: everything, or nothing if it is large. */
export function knownTensor(value: Tensor): Known | null {
  if (value.data.length > knownLimit) return null;
  return { dtype: value.dtype, shape: value.shape, elements: Array.from(value.data as ArrayLike<number>, Number) };
}

/** Makes a known tensor; null where an element is not known. Elements are rounded as the dtype does. */
export function known(
  dtype: DType,
  shape: readonly number[],
  elements: readonly (Dimension | boolean | null)[],
): Known | null {
  if (elements.length !== sizeOf(shape) || elements.length > knownLimit) return null;
  const rounded: Dimension[] = [];
  for (const element of elements) {
    if (element === null) return null;
    if (typeof element === "string") {
      if (dtype !== "int64" && dtype !== "int32") return null;
      rounded.push(element);
    } else rounded.push(round(dtype, Number(element)));
  }
  return { dtype, shape, elements: rounded };
}

function round(dtype: DType, value: number): number {
  if (dtype === "float32") return Math.fround(value);
  if (dtype === "float64") return value;
  return dtype === "bool" ? Number(value !== 0) : Math.trunc(value);
}

/** The known tensor as a host tensor; null where an element is a symbol. */
export function toTensor({ dtype, shape, elements }: Known): Tensor | null {
  if (elements.some((element) => typeof element === "string")) return null;
  const largest = 2n ** 63n - 1n;
  const data =
    dtype === "int64"
      ? elements.map((element) => {
          // "To the end" is written as the largest int64, which a number cannot hold exactly.
          const whole = BigInt(element);
          return whole > largest ? largest : whole < -largest ? -largest : whole;
        })
      : (elements as readonly number[]);
  return tensor(dtype, shape, data) as Tensor;
}
