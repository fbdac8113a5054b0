import { checkArguments, InputError, type RuntimeTensor, type Tensor } from "@exitkit/core-gpu";

type Integers =
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/**
 * Class indices in any of the forms they come in: a list of numbers, an array of whole numbers or bigints, an integer tensor, or
 * ONNX Runtime's own (with its data on the CPU).
 */
export type Labels = readonly number[] | Integers | Tensor | RuntimeTensor;

/**
 * Labels as 32-bit whole numbers, [n]; an `Int32Array` is handed back as it is, without a copy. Tensors of any shape give their
 * elements in row-major order.
 *
 * @param caller The public function that was handed them; it begins the error's message.
 * @param name What they are, in the error's message.
 * @throws InputError on anything else, or a number that is not whole or does not fit 32 bits.
 * @example
 * ```ts
 * import { labelsOf } from "@exitkit/early-exit";
 * console.assert(labelsOf("mine", "labels", BigInt64Array.of(2n, 0n)).join() === "2,0");
 * ```
 */
export function labelsOf(caller: string, name: string, labels: Labels): Int32Array {
  checkArguments("early-exit.labelsOf", { caller: [caller, "a string"], name: [name, "a string"] });
  if (labels instanceof Int32Array) return labels;
  const values = elementsOf(caller, name, labels);
  const whole = new Int32Array(values.length);
  for (let at = 0; at < values.length; at++) {
    whole[at] = Number(values[at]);
    const kind = typeof values[at];
    if ((kind === "number" || kind === "bigint") && whole[at] === Number(values[at])) continue;
    throw new InputError(
      caller,
      `${name} must be whole numbers of 32 bits`,
      `${kind === "string" ? "a string" : String(values[at])} at ${at}`,
    );
  }
  return whole;
}

/** Shape of labels that are a tensor, else null. */
export function labelShape(labels: unknown): readonly number[] | null {
  const { shape, dims } = (labels ?? {}) as { readonly shape?: unknown; readonly dims?: unknown };
  const found = shape ?? dims;
  return Array.isArray(found) ? (found as readonly number[]) : null;
}

function elementsOf(caller: string, name: string, labels: unknown): ArrayLike<number | bigint> {
  const inside = labelShape(labels) === null ? labels : (labels as { readonly data: unknown }).data;
  if (Array.isArray(inside) || isIntegers(inside)) return inside;
  const expectation = `${name} must be class indices: a list or typed array of whole numbers, or an integer tensor`;
  throw new InputError(caller, expectation, said(labels, inside));
}

function isIntegers(value: unknown): value is Integers {
  return (
    ArrayBuffer.isView(value) &&
    !(value instanceof DataView) &&
    !(value instanceof Float32Array) &&
    !(value instanceof Float64Array)
  );
}

function said(labels: unknown, inside: unknown): string {
  if (labels === null) return "null";
  if (typeof labels !== "object") return typeof labels;
  const name = (value: unknown) => (value as object | null)?.constructor?.name ?? typeof value;
  return labels === inside ? name(labels) : `a tensor that holds ${name(inside)}`;
}
