import { InputError } from "../errors.ts";
import { floats } from "./operator.ts";
import { constant, plus } from "./ops/common.ts";
import * as ops from "./ops/index.ts";
import { printSpec, type Spec } from "./spec.ts";
import { flattenTree, mapTree, type Tree, type ValuesOf } from "./tree.ts";
import { type Application, isValue, origin, type Value } from "./value.ts";

const caller = "core-gpu.gradients";

/**
 * Gradients of a scalar with respect to values, by reverse mode: for each value v of `wrt`, `∂ loss ÷ ∂ v`, of v's dtype and
 * shape. They are values again, so that they can go into an optimiser's update or be differentiated once more.
 *
 * Only what lies between `wrt` and the loss is differentiated: parameters that are not asked for cost nothing. A value used
 * several times gets the sum over its uses; an operand that was broadcast gets the sum over the repetitions. Where a
 * function has no derivative (`relu` and `abs` at 0, `maximum` of equals) the convention is PyTorch's.
 *
 * @param loss float32 or float64, `[]`.
 * @param wrt One value or a tree of values: inputs of the traced function or anything computed from them.
 * @returns The same tree with the gradients in place of the values.
 * @throws InputError where the loss is not a scalar, something in `wrt` is no float value, the loss does not depend on it
 * (through comparisons, roundings or `stopGradient` does not count), or an operator in between has no gradient: the error
 * names it and what it gives.
 * @example
 * ```ts
 * import { gradients, ops, spec, trace } from "@exitkit/core-gpu";
 * const program = trace(
 *   ({ params, x, y }) => {
 *     const loss = ops.mean(ops.square(ops.sub(ops.linear(x, params.weight), y)));
 *     return { loss, gradient: gradients(loss, params) };
 *   },
 *   { params: { weight: spec("float32", [1, 3]) }, x: spec("float32", ["n", 3]), y: spec("float32", ["n", 1]) },
 * );
 * console.assert(program.outputs[1]?.name === "gradient.weight");
 * ```
 */
export function gradients<const T extends Tree<Value>>(loss: Value, wrt: T): ValuesOf<T> {
  checkLoss(loss);
  const leaves = isValue(wrt)
    ? [{ name: "", leaf: wrt }]
    : flattenTree<Exclude<T, Value>, Value>(caller, wrt as Exclude<T, Value>);
  for (const { name, leaf } of leaves) checkLeaf(name, leaf);
  const found = backward(loss, new Set(leaves.map(({ leaf }) => leaf)));
  const result = (value: Value, name: string): Value => {
    const gradient = found.get(value);
    if (gradient !== undefined) return gradient;
    throw new InputError(
      caller,
      "the loss must depend on every value it is differentiated by",
      `it does not on ${described(value, name)}`,
      "Leave it out of `wrt`, or use it in the loss.",
    );
  };
  return mapTree(caller, wrt, (leaf, name) => result(leaf as Value, name)) as ValuesOf<T>;
}

function checkLoss(loss: Value): void {
  if (isValue(loss) && loss.shape.length === 0 && floats.includes(loss.dtype)) return;
  const actual = isValue(loss) ? printSpec(loss) : String(loss);
  throw new InputError(
    caller,
    "the loss must be a float32 or float64 scalar []",
    actual,
    "Take its ops.sum or ops.mean.",
  );
}

function checkLeaf(name: string, leaf: Spec): void {
  if (isValue(leaf) && floats.includes(leaf.dtype)) return;
  const actual = isValue(leaf) ? described(leaf, name) : `something else at "${name}"`;
  throw new InputError(caller, "`wrt` must hold float32 or float64 values of the traced function", actual);
}

/** The gradients of all values of `wrt` that the loss depends on. */
function backward(loss: Value, wrt: ReadonlySet<Value>): ReadonlyMap<Value, Value> {
  const order = applicationsUpTo(loss);
  const needed = new Set<Value>(wrt);
  const onPath = order.filter((application) => {
    const { operator, operands, results } = application;
    if (operator.gradient === "zero" || !operands.some((operand) => needed.has(operand))) return false;
    for (const result of results) if (floats.includes(result.dtype)) needed.add(result);
    return true;
  });
  const collected = new Map<Value, Value>();
  if (!needed.has(loss)) return collected;
  const add = (value: Value, gradient: Value): void => {
    const before = collected.get(value);
    collected.set(value, before === undefined ? gradient : plus(ops, before, gradient));
  };
  add(loss, constant(loss.dtype, 1));
  for (const application of onPath.reverse()) {
    const { operator, attributes, operands, results } = application;
    const arrived = results.map((result) => collected.get(result) ?? null);
    if (arrived.every((gradient) => gradient === null)) continue;
    if (operator.gradient === undefined || operator.gradient === "zero") throw withoutGradient(application, order);
    const wanted = operands.map((operand) => needed.has(operand));
    const given = operator.gradient({ ops, attributes, operands, results, gradients: arrived, needed: wanted });
    operands.forEach((operand, index) => {
      const gradient = given[index] ?? null;
      if (wanted[index] && gradient !== null) add(operand, checked(application, operand, gradient));
    });
  }
  return collected;
}

/** A rule that gives another shape than the operand's is a fault of ours; it must not go on as a wrong number. */
function checked({ operator }: Application, operand: Value, gradient: Value): Value {
  if (printSpec(gradient) === printSpec(operand)) return gradient;
  throw new Error(
    `the gradient of ops.${operator.name} is ${printSpec(gradient)} for an operand ${printSpec(operand)}`,
  );
}

function withoutGradient({ operator, results }: Application, order: readonly Application[]): InputError {
  const users = order.filter(({ operands }) => operands.some((operand) => results.includes(operand)));
  const names = [...new Set(users.map((user) => user.operator.name))];
  return new InputError(
    caller,
    "every operator between the loss and what it is differentiated by must have a gradient",
    `ops.${operator.name} giving ${results.map(printSpec).join(" and ")}${names.length === 0 ? "" : `, used by ${names.join(", ")}`}`,
    "Use another operator, or ops.stopGradient before it.",
  );
}

function described(value: Value, name: string): string {
  const from = value.producer.kind === "input" || name === "" ? origin(value) : `"${name}"`;
  return `${from}, ${printSpec(value)}`;
}

/** All applications a value comes from, operands' before their users'. Without recursion: networks are deep. */
function applicationsUpTo(value: Value): Application[] {
  const done = new Set<Application>();
  const pending: (Value | Application)[] = [value];
  const entered = new Set<Application>();
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if ("operator" in next) {
      done.add(next);
      continue;
    }
    if (next.producer.kind !== "result") continue;
    const { application } = next.producer;
    if (entered.has(application)) continue;
    entered.add(application);
    pending.push(application, ...[...application.operands].reverse());
  }
  return [...done];
}
