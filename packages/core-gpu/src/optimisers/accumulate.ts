import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import { printed } from "../printed.ts";
import * as ops from "../program/ops/index.ts";
import { flattenTree, mapTree, type TreeRecord } from "../program/tree.ts";
import { isValue, type Operand, type Value } from "../program/value.ts";
import { tensor } from "../tensor.ts";
import {
  castable,
  leavesLike,
  type Optimiser,
  scalarIn,
  scalarOf,
  type UpdateOptions,
  zerosLike,
} from "./optimiser.ts";

/**
 * Gradient accumulation, for a batch too large for the memory: gathers the gradients of the batches of a window and lets the
 * optimiser make its step only where the window closes, by their mean Σ w·g ÷ Σ w and with the learning rate given there;
 * until then parameters and the optimiser stay as they are. The parts of a batch so give the gradient of the whole, unequal
 * ones too. A window in which nothing counts (Σ w = 0) changes nothing.
 *
 * `update` needs two options more: `weight`, what the batch's gradient g is a mean of (its samples; or of its labels those
 * that are not ignored), and `close`, whether the window ends with this batch. `training.train` feeds the latter to the
 * program's input `closeWindow`, after every `accumulate` batches and at the end of each epoch, so that no batch is lost.
 *
 * State: `optimiser`, `gradients` (Σ w·g so far) and the scalar `weight` (Σ w).
 *
 * Source: optax's `MultiSteps`. Differs: that one weighs batches alike and counts to a fixed number of them.
 * @throws InputError from `update` where `weight` or `close` is missing.
 * @example
 * ```ts
 * import { gradients, layers, ops, optimisers, spec, tensor, trace } from "@exitkit/core-gpu";
 * const optimiser = optimisers.accumulate(optimisers.sgd());
 * const params = { weight: tensor("float32", [1, 2]) };
 * const step = trace(
 *   ({ params, state, x, y, closeWindow }) => {
 *     const loss = ops.mse(ops.linear(x, params.weight), y);
 *     const weight = ops.cast(ops.gather(ops.shapeOf(x), 0), "float32");
 *     const options = { learningRate: 0.1, weight, close: closeWindow };
 *     const next = optimiser.update(gradients(loss, params), state, params, options);
 *     return { loss, params: next.params, state: next.state };
 *   },
 *   {
 *     params: layers.specsOf(params),
 *     state: layers.specsOf(optimiser.init(params)),
 *     x: spec("float32", ["n", 2]),
 *     y: spec("float32", ["n", 1]),
 *     closeWindow: spec("bool", []),
 *   },
 * );
 * console.assert(step.outputs.some(({ name }) => name === "state.weight"));
 * ```
 */
export function accumulate(optimiser: Optimiser): Optimiser {
  const caller = "core-gpu.optimisers.accumulate";
  checkArguments(caller, { optimiser: [optimiser, { init: "a function", update: "a function" }] });
  return {
    init: (params) => ({
      optimiser: optimiser.init(params),
      gradients: zerosLike(caller, params),
      weight: scalarOf(caller, params),
    }),
    update: (gradients, state, params, options) => {
      const gradient = leavesLike(caller, "gradients", params, gradients);
      const before = leavesLike(caller, "state.gradients", params, state.gradients);
      const held = scalarIn(caller, state, "weight");
      const { close, weight } = windowOf(caller, options, held);
      const total = ops.add(held, weight);
      const last = ops.and(close, ops.greater(total, 0));
      const like = params as TreeRecord<Value>;
      const weightLike = castable(weight);
      const sum = mapTree(caller, like, (leaf, name) =>
        // Where nothing counts a mean over nothing must not come in, whatever it is.
        ops.add(before(name), ops.where(ops.equal(weight, 0), 0, ops.mul(gradient(name), weightLike(leaf as Value)))),
      ) as TreeRecord<Value>;
      const divisor = castable(ops.where(ops.greater(total, 0), total, 1));
      const mean = mapTree(caller, sum, (leaf) => ops.div(leaf as Value, divisor(leaf as Value))) as TreeRecord<Value>;
      const inner = (state.optimiser ?? {}) as TreeRecord<Value>;
      const updated = optimiser.update(mean, inner, params, options);
      return {
        params: chosen(caller, last, updated.params as TreeRecord<Value>, like) as typeof updated.params,
        state: {
          optimiser: chosen(caller, last, updated.state, inner),
          gradients: mapTree(caller, sum, (leaf) => ops.where(last, 0, leaf as Value)) as TreeRecord<Value>,
          weight: ops.where(last, 0, total),
        },
      };
    },
  };
}

/** The two options that only this optimiser takes, the weight as a scalar of the state's dtype. */
function windowOf(caller: string, options: UpdateOptions, held: Value): { close: Value; weight: Value } {
  const { close, weight } = (options ?? {}) as Partial<UpdateOptions>;
  if (!isValue(close) || close.dtype !== "bool" || close.shape.length > 0) {
    const fix = 'Pass { close }: an input closeWindow, spec("bool", []), which training.train feeds.';
    throw new InputError(caller, "close must be a bool scalar []", printed(close), fix);
  }
  const known = typeof weight === "number" ? tensor(held.dtype, [], [weight]) : weight;
  if (!isValue(known) && !(typeof weight === "number" && weight > 0 && Number.isFinite(weight))) {
    const fix = "Pass { weight }: the samples of the batch, or its labels that count; 1 where all batches are alike.";
    throw new InputError(caller, "weight must be a number above 0 or a scalar []", printed(weight), fix);
  }
  const value = ops.cast(known as Operand, held.dtype);
  if (value.shape.length > 0) throw new InputError(caller, "weight must be a scalar []", printed(weight));
  return { close, weight: value };
}

/** The first of two like trees where the condition holds, else the second. */
function chosen(caller: string, condition: Value, yes: TreeRecord<Value>, no: TreeRecord<Value>): TreeRecord<Value> {
  const others = new Map(flattenTree<TreeRecord<Value>, Value>(caller, no).map(({ name, leaf }) => [name, leaf]));
  return mapTree(caller, yes, (leaf, name) =>
    ops.where(condition, leaf as Value, others.get(name)!),
  ) as TreeRecord<Value>;
}
