import { createHash } from "node:crypto";
import { asTensor, InputError, type RuntimeTensor, type Tensor } from "@exitkit/core-gpu";
import type { Column } from "../columns/column.ts";

/**
 * A hash of data, so that a selection is only used on what it was made of: sha256, in hexadecimal, of the parts in the order of
 * their names, each with its type, its shape and its bytes.
 *
 * @param parts Tensors, or columns, by name: labels, inputs, ids, whatever says which samples they are, in their order.
 * @throws InputError on no parts, or one that is neither.
 * @example
 * ```ts
 * import { hashSamples } from "@exitkit/eeprune";
 * const labels = Int32Array.of(0, 1, 1);
 * console.assert(hashSamples({ labels }) !== hashSamples({ labels: labels.toReversed() }));
 * ```
 */
export function hashSamples(parts: Readonly<Record<string, Tensor | RuntimeTensor | Column>>): string {
  const caller = "eeprune.hashSamples";
  const names = Object.keys(parts ?? {}).sort();
  if (names.length === 0) throw new InputError(caller, "parts must name at least one tensor or column", "none");
  const hash = createHash("sha256");
  for (const name of names) {
    const part = asTensor(parts[name] as Tensor) as Tensor | Column;
    const isTensor = typeof part === "object" && part !== null && "dtype" in part;
    const given = isTensor ? part.data : part;
    const values = Array.isArray(given) ? Float64Array.from(given) : given;
    if (!ArrayBuffer.isView(values)) throw new InputError(caller, `${name} must be a tensor or a column`, typeof part);
    const shape = isTensor ? part.shape : [(values as Float64Array).length];
    hash.update(JSON.stringify([name, values.constructor.name, shape]));
    hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  return hash.digest("hex");
}
