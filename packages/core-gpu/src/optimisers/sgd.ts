import { z } from "zod";
import { InputError } from "../errors.ts";
import { parseOptions } from "../options.ts";
import * as ops from "../program/ops/index.ts";
import { mapTree } from "../program/tree.ts";
import type { Value } from "../program/value.ts";
import { leavesLike, type Mask, maskSchema, type Optimiser, ratesOf, zerosLike } from "./optimiser.ts";

/** Options of {@link sgd}. */
export interface SgdOptions {
  /** How much of the last direction stays, in [0, 1). Default 0: plain gradient descent, without state. */
  readonly momentum?: number;
  /** Look ahead by one step of the momentum. Default false. */
  readonly nesterov?: boolean;
  /** λ ≥ 0: adds `λ·parameter` to the gradient. Default 0. */
  readonly weightDecay?: number;
  /** Which parameters weight decay applies to; default all. */
  readonly mask?: Mask;
}

const schema = z.strictObject({
  momentum: z.number().min(0).lt(1).default(0),
  nesterov: z.boolean().default(false),
  weightDecay: z.number().min(0).default(0),
  mask: maskSchema.default(() => () => true),
});

/**
 * Stochastic gradient descent: with gradient g of parameter p, momentum μ, weight decay λ and learning rate η
 *
 * `g ← g + λ·p`, `v ← μ·v + g`, `p ← p − η·v`, with Nesterov's momentum `p ← p − η·(g + μ·v)`.
 *
 * State: `momentum`, a tree like the parameters; without momentum an empty record.
 *
 * Source: as `torch.optim.SGD` (the learning rate multiplies the momentum when it is used, not when it is stored; no
 * dampening).
 * @throws InputError on an option that is unknown or out of range, or Nesterov without momentum.
 * @example
 * ```ts
 * import { gradients, openDevice, ops, optimisers, spec, tensor, trace } from "@exitkit/core-gpu";
 * const descent = optimisers.sgd({ momentum: 0.9 });
 * const params = { weight: tensor("float32", [2], [1, -3]) };
 * const optimiser = descent.init(params);
 * const step = trace(
 *   ({ params, optimiser, learningRate }) => {
 *     const loss = ops.sum(ops.square(params.weight));
 *     const next = descent.update(gradients(loss, params), optimiser, params, { learningRate });
 *     return { loss, params: next.params, optimiser: next.state };
 *   },
 *   { params, optimiser, learningRate: spec("float32", []) },
 * );
 * const device = await openDevice("cpu");
 * const runner = await device.compile(step, { state: ["params", "optimiser"], initial: { params, optimiser } });
 * const { loss } = await runner.run({ learningRate: tensor("float32", [], [0.1]) });
 * console.assert(loss?.data[0] === 10);
 * await device.close();
 * ```
 */
export function sgd(options?: SgdOptions): Optimiser {
  const caller = "core-gpu.optimisers.sgd";
  const { momentum, nesterov, weightDecay, mask } = parseOptions(caller, schema, options);
  if (nesterov && momentum === 0) {
    throw new InputError(caller, "nesterov needs momentum above 0", "momentum 0", "Set momentum, e.g. to 0.9.");
  }
  return {
    init: (params) => {
      const zeros = zerosLike(caller, params);
      return momentum === 0 ? {} : { momentum: zeros };
    },
    update: (gradients, state, params, options) => {
      const rate = ratesOf(caller, options);
      const gradient = leavesLike(caller, "gradients", params, gradients);
      const before = momentum === 0 ? undefined : leavesLike(caller, "state.momentum", params, state.momentum);
      const velocities = new Map<string, Value>();
      const next = mapTree(caller, params, (leaf, name) => {
        const parameter = leaf as Value;
        const decayed = weightDecay > 0 && mask(name, parameter);
        const plain = gradient(name);
        const slope = decayed ? ops.add(plain, ops.mul(parameter, weightDecay)) : plain;
        let direction = slope;
        if (before !== undefined) {
          const velocity = ops.add(ops.mul(before(name), momentum), slope);
          velocities.set(name, velocity);
          direction = nesterov ? ops.add(slope, ops.mul(velocity, momentum)) : velocity;
        }
        return ops.sub(parameter, ops.mul(direction, rate(parameter)));
      });
      if (before === undefined) return { params: next, state: {} };
      return { params: next, state: { momentum: mapTree(caller, params, (_, name) => velocities.get(name)!) } };
    },
  };
}
