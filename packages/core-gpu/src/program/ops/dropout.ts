import { z } from "zod";
import { checkArguments } from "../../arguments.ts";
import { parseOptions } from "../../options.ts";
import type { Generator } from "../../random.ts";
import { type Tensor, tensor } from "../../tensor.ts";
import { type Operand, operatorOptions, type Value } from "../value.ts";
import { mul } from "./arithmetic.ts";
import { cast } from "./logic.ts";

const rateSchema = z.number().min(0).lt(1);

/**
 * Dropout: `x · mask ÷ (1 − rate)`. The mask is an input, drawn by {@link dropoutMask} for each step, so that a program
 * has no randomness of its own. x any shape, float32 or float64; mask bool, of x's shape (or broadcasting to it).
 *
 * Source: Srivastava et al., Dropout, 2014.
 *
 * @param rate Which share is dropped, in [0, 1): the one the mask was drawn with.
 */
export function dropout(x: Value | Tensor, mask: Operand, rate: number): Value {
  operatorOptions("dropout", z.strictObject({ rate: rateSchema }), { rate });
  return mul(x, mul(cast(mask, x.dtype), 1 / (1 - rate)));
}

/**
 * A mask for {@link dropout}: each element is 0 (dropped) with probability `rate`, else 1, drawn one after the other.
 *
 * @returns bool, of the shape.
 * @example
 * ```ts
 * import { generator, ops } from "@exitkit/core-gpu";
 * const mask = ops.dropoutMask(generator(1), [2, 3], 0.5);
 * console.assert(mask.dtype === "bool" && mask.data.length === 6);
 * ```
 */
export function dropoutMask(generator: Generator, shape: readonly number[], rate: number): Tensor<"bool"> {
  checkArguments("core-gpu.ops.dropoutMask", { generator: [generator, "a generator"], shape: [shape, "a shape"] });
  parseOptions("core-gpu.ops.dropoutMask", z.strictObject({ shape: z.array(z.int().min(0)), rate: rateSchema }), {
    shape: [...shape],
    rate,
  });
  const size = shape.reduce((product, dimension) => product * dimension, 1);
  const data = Uint8Array.from({ length: size }, () => (generator.uniform() < rate ? 0 : 1));
  return tensor("bool", shape, data);
}
