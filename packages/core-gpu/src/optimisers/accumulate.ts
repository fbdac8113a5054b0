import { z } from "zod";
import { parseOptions } from "../options.ts";
import * as ops from "../program/ops/index.ts";
import { flattenTree, mapTree, type TreeRecord } from "../program/tree.ts";
import type { Value } from "../program/value.ts";
import { tensor } from "../tensor.ts";
import { leavesLike, type Optimiser, scalarIn, zerosLike } from "./optimiser.ts";

/** Options of {@link accumulate}. */
export interface AccumulateOptions {
  /** Updates that are averaged into one, at least 1. */
  readonly steps: number;
}

const schema = z.strictObject({ steps: z.int().min(1) });

/**
 * Gradient accumulation: averages the gradients of `steps` successive updates and lets the optimiser make its step only at
 * the last of them, with the learning rate given there; until then parameters stay as they are. A batch too large for the
 * memory can so be cut into equal parts.
 *
 * State: `optimiser`, `gradients` (the sum so far ÷ steps) and the int32 scalar `count` of updates in it.
 *
 * Source: optax's `MultiSteps`.
 * @throws InputError on an option that is unknown or out of range.
 * @example
 * ```ts
 * import { optimisers, tensor } from "@exitkit/core-gpu";
 * const optimiser = optimisers.accumulate(optimisers.adam(), { steps: 4 });
 * console.assert("gradients" in optimiser.init({ weight: tensor("float32", [3]) }));
 * ```
 */
export function accumulate(optimiser: Optimiser, options: AccumulateOptions): Optimiser {
  const caller = "core-gpu.optimisers.accumulate";
  const { steps } = parseOptions(caller, schema, options);
  return {
    init: (params) => ({
      optimiser: optimiser.init(params),
      gradients: zerosLike(caller, params),
      count: tensor("int32", []),
    }),
    update: (gradients, state, params, options) => {
      const gradient = leavesLike(caller, "gradients", params, gradients);
      const before = leavesLike(caller, "state.gradients", params, state.gradients);
      const count = ops.add(scalarIn(caller, state, "count"), 1);
      const last = ops.equal(count, steps);
      const like = params as TreeRecord<Value>;
      const sum = mapTree(caller, like, (_, name) =>
        ops.add(before(name), ops.mul(gradient(name), 1 / steps)),
      ) as TreeRecord<Value>;
      const inner = (state.optimiser ?? {}) as TreeRecord<Value>;
      const updated = optimiser.update(sum, inner, params, options);
      return {
        params: chosen(caller, last, updated.params as TreeRecord<Value>, like) as typeof updated.params,
        state: {
          optimiser: chosen(caller, last, updated.state, inner),
          gradients: mapTree(caller, sum, (leaf) => ops.where(last, 0, leaf as Value)) as TreeRecord<Value>,
          count: ops.where(last, 0, count),
        },
      };
    },
  };
}

/** The first of two like trees where the condition holds, else the second. */
function chosen(caller: string, condition: Value, yes: TreeRecord<Value>, no: TreeRecord<Value>): TreeRecord<Value> {
  const others = new Map(flattenTree<TreeRecord<Value>, Value>(caller, no).map(({ name, leaf }) => [name, leaf]));
  return mapTree(caller, yes, (leaf, name) =>
    ops.where(condition, leaf as Value, others.get(name)!),
  ) as TreeRecord<Value>;
}
