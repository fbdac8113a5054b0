import { z } from "zod";
import { InputError } from "../errors.ts";
import { floats } from "../program/operator.ts";
import * as ops from "../program/ops/index.ts";
import { printSpec, type Spec } from "../program/spec.ts";
import { flattenTree, mapTree, type TreeRecord, type ValuesOf, type WithLeaves } from "../program/tree.ts";
import { isValue, type Operand, type Value } from "../program/value.ts";
import { type Tensor, tensor } from "../tensor.ts";

/**
 * A rule that changes parameters by their gradients: plain functions, with the state (moments, counts) handed in and out, as
 * in optax. `init` makes the first state; `update` is used while a program is traced.
 */
export interface Optimiser {
  /**
   * The state before the first update: zeros, on the host.
   *
   * @param params The parameters that will be updated: a record of tensors or of specs, without symbolic sizes.
   */
  init(params: TreeRecord<Spec>): TreeRecord<Tensor>;
  /**
   * One step.
   *
   * @param gradients A tree like `params`, as `gradients(loss, params)` gives it.
   * @param state As `init` made it, or a previous update.
   * @throws InputError where the trees do not fit together.
   */
  update<const P extends TreeRecord<Value>>(
    gradients: TreeRecord<Value>,
    state: TreeRecord<Value>,
    params: P,
    options: UpdateOptions,
  ): Updated<P>;
}

/** What an update takes besides the trees. */
export interface UpdateOptions {
  /** The step's size: a number, or a scalar that is fed, so that a schedule can change it. */
  readonly learningRate: Operand;
  /** Of `accumulate` alone: what the gradients are a mean of, the batch's samples or labels that count. */
  readonly weight?: Operand;
  /** Of `accumulate` alone: whether the optimiser is to make its step with this batch; bool `[]`. */
  readonly close?: Value;
}

/** What an update gives. */
export interface Updated<P> {
  readonly params: ValuesOf<P>;
  readonly state: TreeRecord<Value>;
}

/** Whether weight decay applies to a parameter, by its path (`conv.weight`) and shape. */
export type Mask = (name: string, parameter: Spec) => boolean;

export const maskSchema = z.custom<Mask>((value) => typeof value === "function", "must be a function");

/** Zeros like every parameter. @throws InputError where one is no float or has a symbolic size. */
export function zerosLike<P extends TreeRecord<Spec>>(caller: string, params: P): WithLeaves<P, Tensor> {
  return mapTree(caller, params, ({ dtype, shape }, name) => {
    if (!floats.includes(dtype) || shape.some((dimension) => typeof dimension !== "number")) {
      const expectation = `parameter "${name}" must be float32 or float64 and have a shape without symbols`;
      throw new InputError(caller, expectation, printSpec({ dtype, shape }));
    }
    return tensor(dtype, shape as readonly number[]);
  });
}

/** The dtype that scalars of the state have: that of the first parameter. */
export function scalarOf(caller: string, params: TreeRecord<Spec>): Tensor {
  return tensor(flattenTree<TreeRecord<Spec>, Spec>(caller, params)[0]?.leaf.dtype ?? "float32", []);
}

/** The leaves of a tree by path. @throws InputError where they are not, one for one, like those of `params`. */
export function leavesLike(
  caller: string,
  what: string,
  params: TreeRecord<Value>,
  tree: unknown,
): (name: string) => Value {
  if (typeof tree !== "object" || tree === null) {
    throw new InputError(caller, `${what} must be a tree like the parameters`, String(tree), "Pass what `init` gave.");
  }
  const leaves = new Map(flattenTree<object, Value>(caller, tree).map(({ name, leaf }) => [name, leaf]));
  const expected = new Map(flattenTree<TreeRecord<Value>, Value>(caller, params).map(({ name, leaf }) => [name, leaf]));
  for (const [name, leaf] of expected) {
    const found = leaves.get(name);
    if (found !== undefined && isValue(found) && printSpec(found) === printSpec(leaf)) continue;
    const actual = found === undefined ? "nothing" : printSpec(found);
    throw new InputError(caller, `${what} must have a value like parameter "${name}", ${printSpec(leaf)}`, actual);
  }
  for (const name of leaves.keys()) {
    if (expected.has(name)) continue;
    throw new InputError(caller, `${what} must be a tree like the parameters`, `"${name}", which is none of them`);
  }
  return (name) => leaves.get(name)!;
}

/** A scalar of the state. */
export function scalarIn(caller: string, state: TreeRecord<Value>, name: string): Value {
  const found = state[name] as unknown;
  if (isValue(found) && found.shape.length === 0) return found;
  throw new InputError(caller, `the state must have a scalar "${name}"`, printed(found), "Pass what `init` gave.");
}

/** The learning rate for parameters of each dtype. @throws InputError unless it is a scalar. */
export function ratesOf(caller: string, options: UpdateOptions): (like: Spec) => Operand {
  const rate = (options as Partial<UpdateOptions> | undefined)?.learningRate;
  const valid =
    typeof rate === "number"
      ? Number.isFinite(rate)
      : typeof rate === "object" && rate !== null && floats.includes(rate.dtype) && rate.shape.length === 0;
  if (!valid) {
    const fix = "Pass { learningRate }.";
    throw new InputError(caller, "learningRate must be a number or a float scalar []", printed(rate), fix);
  }
  return castable(rate as Operand);
}

/** A scalar in the dtype of what it is used with, cast once for each. */
export function castable(scalar: Operand): (like: Spec) => Operand {
  const cast = new Map<Spec["dtype"], Operand>();
  return ({ dtype }) => {
    if (typeof scalar === "number" || scalar.dtype === dtype) return scalar;
    const known = cast.get(dtype) ?? ops.cast(scalar, dtype);
    cast.set(dtype, known);
    return known;
  };
}

const printed = (value: unknown): string =>
  typeof value === "object" && value !== null && "dtype" in value ? printSpec(value as Spec) : String(value);
