import { InputError, type Spec } from "@exitkit/core-gpu";

/** @throws InputError unless the input is [n, ...] with a symbol first and numbers after it. */
export function checkInput(caller: string, what: string, { dtype, shape }: Spec): void {
  const [batch, ...sample] = shape;
  if (typeof batch === "string" && sample.length > 0 && sample.every((size) => typeof size === "number")) return;
  const expectation = `${what} must be [n, …]: a symbol for the batch, then numbers`;
  throw new InputError(caller, expectation, `${dtype} [${shape.join(", ")}]`);
}

/** Number of classes k of logits [n, k]. */
export function classesOf(caller: string, name: string, { dtype, shape }: Spec): number {
  const k = shape[1];
  if (dtype === "float32" && shape.length === 2 && typeof k === "number" && k >= 2) return k;
  const expectation = `"${name}" must be logits float32 [n, k] with a known k ≥ 2`;
  throw new InputError(caller, expectation, `${dtype} [${shape.join(", ")}]`);
}

/** Shape of one sample of a tap's features [n, ...]. */
export function featureShape(caller: string, name: string, { dtype, shape }: Spec): readonly number[] {
  const sample = shape.slice(1);
  if (dtype === "float32" && sample.length > 0 && sample.every((size) => typeof size === "number")) {
    return sample as readonly number[];
  }
  const expectation = `tap "${name}" must be float32 [n, …] with all sizes but the batch's known`;
  throw new InputError(caller, expectation, `${dtype} [${shape.join(", ")}]`);
}
