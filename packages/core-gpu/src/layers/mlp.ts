import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import * as ops from "../program/ops/index.ts";
import type { Value } from "../program/value.ts";
import type { Generator } from "../random.ts";
import { initLinear, type LinearOptions, type LinearParameters, linear } from "./linear.ts";

/**
 * First parameters of linear layers one after the other.
 *
 * @param sizes Features in, of each hidden layer, and out: `[784, 256, 10]` is two layers.
 * @throws InputError on fewer than two sizes or one that is not a whole number ≥ 1.
 */
export function initMlp(
  generator: Generator,
  sizes: readonly number[],
  options?: Omit<LinearOptions, "in" | "out" | "bias">,
): readonly Required<LinearParameters>[] {
  checkArguments("core-gpu.layers.initMlp", { generator: [generator, "a generator"], sizes: [sizes, "a list"] });
  if (sizes.length < 2) {
    throw new InputError("core-gpu.layers.initMlp", "at least two sizes are needed", `[${sizes.join(", ")}]`);
  }
  return sizes.slice(1).map((out, index) => initLinear(generator, { ...options, in: sizes[index]!, out }));
}

/** Linear layers with an activation (default ReLU) between them, none after the last: x [..., d] → [..., k]. */
export function mlp(
  params: readonly LinearParameters<Value>[],
  x: Value,
  activation: (x: Value) => Value = ops.relu,
): Value {
  checkArguments("core-gpu.layers.mlp", { params: [params, "a list"], x: [x, "a traced value or a tensor"] });
  return params.reduce((hidden, layer, index) => linear(layer, index === 0 ? hidden : activation(hidden)), x);
}
