import { z } from "zod";
import { checkArguments } from "../arguments.ts";
import { parseOptions } from "../options.ts";
import * as ops from "../program/ops/index.ts";
import type { Operand, Value } from "../program/value.ts";
import type { Generator } from "../random.ts";
import type { Tensor } from "../tensor.ts";
import { type Initialiser, pytorchBias, pytorchWeight } from "./initialisers.ts";

/** Parameters of {@link linear}: weight [k, d], bias [k]. */
export type LinearParameters<Leaf = Tensor> = {
  readonly weight: Leaf;
  readonly bias?: Leaf;
};

/** Options of {@link initLinear}. */
export interface LinearOptions {
  /** Features that go in, d. */
  readonly in: number;
  /** Features that come out, k. */
  readonly out: number;
  /** Whether something is added. Default true. */
  readonly bias?: boolean;
  /** How the weight starts. Default `pytorchWeight`. */
  readonly initialWeight?: Initialiser;
  /** How the bias starts. Default `pytorchBias`. */
  readonly initialBias?: Initialiser;
}

export const initialiser = z.custom<Initialiser>((value) => typeof value === "function", "must be an initialiser");

const options = z.strictObject({
  in: z.int().min(1),
  out: z.int().min(1),
  bias: z.boolean().default(true),
  initialWeight: initialiser.optional(),
  initialBias: initialiser.optional(),
});

/**
 * First parameters of a fully connected layer: weight [out, in] and bias [out].
 *
 * @throws InputError on an option that is unknown, missing or out of range.
 * @example
 * ```ts
 * import { generator, layers } from "@exitkit/core-gpu";
 * const params = layers.initLinear(generator(1), { in: 64, out: 10, initialWeight: layers.xavierUniform() });
 * console.assert(params.weight.shape.join() === "10,64" && params.bias !== undefined);
 * ```
 */
export function initLinear(
  generator: Generator,
  given: LinearOptions & { readonly bias: false },
): { readonly weight: Tensor };
export function initLinear(generator: Generator, given: LinearOptions): Required<LinearParameters>;
export function initLinear(generator: Generator, given: LinearOptions): LinearParameters {
  const checked = parseOptions("core-gpu.layers.initLinear", options, given);
  const shape = [checked.out, checked.in];
  const { initialWeight = pytorchWeight, initialBias = pytorchBias(shape) } = checked;
  const weight = initialWeight(generator, shape);
  return checked.bias ? { weight, bias: initialBias(generator, [checked.out]) } : { weight };
}

/** Fully connected layer: `x · weightᵀ + bias`, x [..., d] → [..., k]. */
export function linear(params: LinearParameters<Value>, x: Operand): Value {
  checkArguments("core-gpu.layers.linear", { params: [params, { weight: "a traced value or a tensor" }] });
  return ops.linear(x, params.weight, params.bias);
}
