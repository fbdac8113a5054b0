import { z } from "zod";
import { parseOptions } from "../options.ts";
import * as ops from "../program/ops/index.ts";
import type { Spec } from "../program/spec.ts";
import { mapTree, type TreeRecord } from "../program/tree.ts";
import type { Operand, Value } from "../program/value.ts";
import {
  castable,
  leavesLike,
  type Mask,
  maskSchema,
  type Optimiser,
  ratesOf,
  scalarIn,
  scalarOf,
  zerosLike,
} from "./optimiser.ts";

/** Options of {@link adam} and {@link adamW}. */
export interface AdamOptions {
  /** β₁, how much of the mean of gradients stays each step, in [0, 1). Default 0.9. */
  readonly beta1?: number;
  /** β₂, the same of the mean of squared gradients, in [0, 1). Default 0.999. */
  readonly beta2?: number;
  /** ε > 0, added to the root of the mean square. Default 10⁻⁸. */
  readonly epsilon?: number;
  /** λ ≥ 0. Default 0 for Adam, 0.01 for AdamW. */
  readonly weightDecay?: number;
  /** Which parameters weight decay applies to; default all. */
  readonly mask?: Mask;
}

const schema = (weightDecay: number) =>
  z.strictObject({
    beta1: z.number().min(0).lt(1).default(0.9),
    beta2: z.number().min(0).lt(1).default(0.999),
    epsilon: z.number().positive().default(1e-8),
    weightDecay: z.number().min(0).default(weightDecay),
    mask: maskSchema.default(() => () => true),
  });

/**
 * Adam: with gradient g of parameter p, weight decay λ and learning rate η, at the t-th step
 *
 * `g ← g + λ·p`, `m ← β₁·m + (1 − β₁)·g`, `v ← β₂·v + (1 − β₂)·g²`,
 * `p ← p − η·m̂ ÷ (√v̂ + ε)` where `m̂ = m ÷ (1 − β₁ᵗ)`, `v̂ = v ÷ (1 − β₂ᵗ)`.
 *
 * State: `firstMoment` = `Σᵢ β₁^(t−i)·gᵢ` and `secondMoment` = `Σᵢ β₂^(t−i)·gᵢ²`, trees like the parameters, and the sums of
 * their weights, the scalars `firstWeight` and `secondWeight`: m̂ and v̂ are the quotients.
 *
 * Source: Kingma and Ba, Adam: a method for stochastic optimization (2015), as `torch.optim.Adam`.
 * Differs: m and v are kept without their factors 1 − β, which cancel; two passes over the parameters less, and no
 * rounding of 1 − β₂.
 * @throws InputError on an option that is unknown or out of range.
 */
export function adam(options?: AdamOptions): Optimiser {
  const caller = "core-gpu.optimisers.adam";
  return make(caller, parseOptions(caller, schema(0), options), false);
}

/**
 * Adam with decoupled weight decay: as {@link adam} without λ in the gradient, but with `p ← p − η·λ·p` before the step.
 *
 * Source: Loshchilov and Hutter, Decoupled weight decay regularization (2019), as `torch.optim.AdamW`.
 * @throws InputError on an option that is unknown or out of range.
 * @example
 * ```ts
 * import { optimisers, tensor } from "@exitkit/core-gpu";
 * // Weight decay is for matrices and filters, not for biases and scales.
 * const optimiser = optimisers.adamW({ weightDecay: 0.05, mask: (_, { shape }) => shape.length > 1 });
 * const state = optimiser.init({ weight: tensor("float32", [2, 2]), bias: tensor("float32", [2]) });
 * console.assert("firstMoment" in state);
 * ```
 */
export function adamW(options?: AdamOptions): Optimiser {
  const caller = "core-gpu.optimisers.adamW";
  return make(caller, parseOptions(caller, schema(0.01), options), true);
}

function make(caller: string, options: Required<AdamOptions>, decoupled: boolean): Optimiser {
  const { beta1, beta2, epsilon, weightDecay, mask } = options;
  return {
    init: (params) => ({
      firstMoment: zerosLike(caller, params),
      secondMoment: zerosLike(caller, params),
      firstWeight: scalarOf(caller, params),
      secondWeight: scalarOf(caller, params),
    }),
    update: (gradients, state, params, options) => {
      const rate = ratesOf(caller, options);
      const gradient = leavesLike(caller, "gradients", params, gradients);
      const first = leavesLike(caller, "state.firstMoment", params, state.firstMoment);
      const second = leavesLike(caller, "state.secondMoment", params, state.secondMoment);
      const firstWeight = ops.add(ops.mul(scalarIn(caller, state, "firstWeight"), beta1), 1);
      const secondWeight = ops.add(ops.mul(scalarIn(caller, state, "secondWeight"), beta2), 1);
      // η·(m ÷ w₁) ÷ (√(v ÷ w₂) + ε) with the weights in scalars: (η·√w₂ ÷ w₁)·m ÷ (√v + ε·√w₂).
      const root = ops.sqrt(secondWeight);
      const scale = perDType((like) => ops.div(ops.mul(castable(root)(like), rate(like)), castable(firstWeight)(like)));
      const guard = perDType(castable(ops.mul(root, epsilon)));
      const kept = perDType((like) => afterDecay(rate(like), weightDecay));
      const moments = new Map<string, readonly [Value, Value]>();
      const next = mapTree(caller, params, (leaf, name) => {
        const parameter = leaf as Value;
        const decayed = weightDecay > 0 && mask(name, parameter);
        const plain = gradient(name);
        const slope = decayed && !decoupled ? ops.add(plain, ops.mul(parameter, weightDecay)) : plain;
        const sum = ops.add(ops.mul(first(name), beta1), slope);
        const squares = ops.add(ops.mul(second(name), beta2), ops.square(slope));
        moments.set(name, [sum, squares]);
        const direction = ops.div(sum, ops.add(ops.sqrt(squares), guard(parameter)));
        const base = decayed && decoupled ? ops.mul(parameter, kept(parameter)) : parameter;
        return ops.sub(base, ops.mul(direction, scale(parameter)));
      });
      const moment = (index: 0 | 1): TreeRecord<Value> =>
        mapTree(caller, params as TreeRecord<Value>, (_, name) => moments.get(name)![index]) as TreeRecord<Value>;
      return {
        params: next,
        state: { firstMoment: moment(0), secondMoment: moment(1), firstWeight, secondWeight },
      };
    },
  };
}

/** A scalar computed once for each dtype. */
function perDType(make: (like: Spec) => Operand): (like: Spec) => Operand {
  const made = new Map<Spec["dtype"], Operand>();
  return (like) => {
    const known = made.get(like.dtype) ?? make(like);
    made.set(like.dtype, known);
    return known;
  };
}

/** `1 − η·λ` */
function afterDecay(rate: Operand, weightDecay: number): Operand {
  return typeof rate === "number" ? 1 - rate * weightDecay : ops.sub(1, ops.mul(rate, weightDecay));
}
