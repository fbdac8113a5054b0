import { InputError, type Spec } from "@exitkit/core-gpu";

/** @throws InputError unless the input is [n, ...] with a symbol first and numbers after it. */
export function checkInput(caller: string, what: string, { dtype, shape }: Spec): void {
  const [batch, ...sample] = shape;
  if (typeof batch === "string" && sample.length > 0 && sample.every((size) => typeof size === "number")) return;
  const expectation = `${what} must be [n, …]: a symbol for the batch, then numbers`;
  throw new InputError(caller, expectation, `${dtype} [${shape.join(", ")}]`);
}

/** What logits [n, k], or [n, u, k], answer: the number of classes k, and how many decisions a sample takes, 1 or u. */
export function answersOf(
  caller: string,
  name: string,
  { dtype, shape }: Spec,
): { readonly classes: number; readonly units: number } {
  const k = shape.at(-1);
  const units = shape.length === 3 ? shape[1] : 1;
  const fits = shape.length === 2 || shape.length === 3;
  if (dtype === "float32" && fits && typeof units === "number" && typeof k === "number" && k >= 2) {
    return { classes: k, units };
  }
  const expectation = `"${name}" must be logits float32 [n, k], or [n, u, k] of u tokens, with known k ≥ 2 and u`;
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
