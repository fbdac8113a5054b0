import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import type { DType } from "../tensor.ts";
import { type Dimension, printShape, type Shape } from "./dimensions.ts";

/** What is known of a value before it exists: its dtype and its shape, in which sizes may be symbols. */
export interface Spec {
  readonly dtype: DType;
  readonly shape: Shape;
}

/**
 * Describes an input of a program.
 *
 * @param shape Sizes ≥ 0, or names of sizes that are known only when the program runs (letters, digits and `_`); the same
 * name means the same size wherever it stands.
 * @throws InputError on a dimension that is neither.
 * @example
 * ```ts
 * import { spec } from "@exitkit/core-gpu";
 * const images = spec("float32", ["n", 3, 32, 32]);
 * console.assert(images.shape[0] === "n");
 * ```
 */
export function spec(dtype: DType, shape: readonly Dimension[]): Spec {
  checkArguments("core-gpu.spec", { dtype: [dtype, "a string"], shape: [shape, "a shape"] });
  for (const dimension of shape) {
    const valid =
      typeof dimension === "number"
        ? Number.isSafeInteger(dimension) && dimension >= 0
        : /^[A-Za-z_]\w*$/.test(dimension);
    if (!valid) {
      throw new InputError(
        "core-gpu.spec",
        "every dimension must be a whole number ≥ 0 or a name of letters, digits and _",
        printShape(shape),
      );
    }
  }
  return { dtype, shape: [...shape] };
}

/** `float32 [n, 3, 32, 32]` */
export function printSpec({ dtype, shape }: Spec): string {
  return `${dtype} ${printShape(shape)}`;
}
