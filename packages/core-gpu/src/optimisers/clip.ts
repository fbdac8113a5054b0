import { InputError } from "../errors.ts";
import * as ops from "../program/ops/index.ts";
import { flattenTree, mapTree, type TreeRecord, type ValuesOf } from "../program/tree.ts";
import type { Value } from "../program/value.ts";
import { castable } from "./optimiser.ts";

/** What {@link clipByGlobalNorm} gives. */
export interface Clipped<G> {
  readonly gradients: ValuesOf<G>;
  /** The norm before, a scalar. */
  readonly norm: Value;
}

/**
 * Scales all gradients by one factor so that their common norm is at most `maximum`: with `norm = √ Σ g²` over every
 * element of every gradient, `g ← g·min(1, maximum ÷ (norm + 10⁻⁶))`. Where the norm is not finite neither is the result.
 *
 * Source: as `torch.nn.utils.clip_grad_norm_`.
 * @param maximum Above 0.
 * @returns The scaled gradients, and the norm before.
 * @throws InputError where `maximum` is not above 0 or there are no gradients.
 * @example
 * ```ts
 * import { gradients, ops, optimisers, spec, trace } from "@exitkit/core-gpu";
 * const program = trace(
 *   ({ params }) => {
 *     const loss = ops.sum(ops.exp(params.weight));
 *     return { ...optimisers.clipByGlobalNorm(gradients(loss, params), 1) };
 *   },
 *   { params: { weight: spec("float32", [3]) } },
 * );
 * console.assert(program.outputs.map(({ name }) => name).join() === "gradients.weight,norm");
 * ```
 */
export function clipByGlobalNorm<const G extends TreeRecord<Value>>(gradients: G, maximum: number): Clipped<G> {
  const caller = "core-gpu.optimisers.clipByGlobalNorm";
  if (!(typeof maximum === "number" && maximum > 0)) {
    throw new InputError(caller, "maximum must be a number above 0", String(maximum));
  }
  const leaves = flattenTree<G, Value>(caller, gradients).map(({ leaf }) => leaf);
  const [first] = leaves;
  if (first === undefined) throw new InputError(caller, "there must be gradients", "an empty tree");
  const squares = leaves.map((leaf) => castable(ops.sumSquares(leaf))(first) as Value);
  const norm = ops.sqrt(squares.reduce((sum, square) => ops.add(sum, square)));
  const factor = castable(ops.minimum(ops.div(maximum, ops.add(norm, 1e-6)), 1));
  return {
    gradients: mapTree(caller, gradients, (leaf) => ops.mul(leaf as Value, factor(leaf as Value))) as ValuesOf<G>,
    norm,
  };
}
