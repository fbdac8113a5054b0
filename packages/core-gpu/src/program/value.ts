import type { z } from "zod";
import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import { parseOptions } from "../options.ts";
import { printed } from "../printed.ts";
import { type DType, type Tensor, tensor } from "../tensor.ts";
import { callSite } from "./callsite.ts";
import { type Operator, Refusal } from "./operator.ts";
import { printSpec, type Spec } from "./spec.ts";

/**
 * A symbolic value: what an operator gives while a program is traced. It has a dtype and a shape and knows how it is
 * made; there is no data. Values are immutable and free of any trace, so that functions of values compose.
 */
export interface Value extends Spec {
  /** How the value comes about (not enumerable: values share their producers, so printing them all would explode). */
  readonly producer: Producer;
}

/** An input of the program, data known when it is traced, or one result of an operator. */
export type Producer =
  | { readonly kind: "input"; readonly name: string }
  | { readonly kind: "constant"; readonly tensor: Tensor }
  | { readonly kind: "result"; readonly application: Application; readonly index: number };

/** An operator applied to values. */
export interface Application {
  readonly operator: Operator;
  readonly attributes: object;
  readonly operands: readonly Value[];
  readonly results: readonly Value[];
}

/** What operators take: a value, a host tensor (becomes a constant) or a number (a scalar of the other operand's dtype). */
export type Operand = Value | Tensor | number;

/** Makes a value. */
export function makeValue({ dtype, shape }: Spec, producer: Producer): Value {
  return Object.defineProperty({ dtype, shape }, "producer", { value: producer }) as Spec & { producer: Producer };
}

/** Whether something is a symbolic value. */
export function isValue(candidate: unknown): candidate is Value {
  return typeof (candidate as Partial<Value> | null)?.producer === "object";
}

function isTensor(candidate: unknown): candidate is Tensor {
  return ArrayBuffer.isView((candidate as Partial<Tensor> | null)?.data);
}

/**
 * Applies an operator: turns tensors and numbers into constants, checks by its shape rule and gives its results.
 *
 * @throws InputError naming the operator, the operands' dtypes, shapes and origins, and the user's line.
 */
export function apply<A extends object>(
  operator: Operator<A>,
  operands: readonly Operand[],
  attributes: A,
): readonly Value[] {
  checkArguments("core-gpu.applyOperator", {
    operator: [operator, { name: "a string", infer: "a function" }],
    operands: [operands, "a list"],
  });
  const caller = `core-gpu.ops.${operator.name}`;
  const like = operands.find(
    (operand): operand is Value | Tensor => (isValue(operand) || isTensor(operand)) && operand.dtype !== "bool",
  );
  const values = operands.map((operand, index) => toValue(caller, operand, index, like?.dtype ?? "float32"));
  const specs = refusing(caller, values, () => operator.infer(values, attributes));
  const results: Value[] = [];
  const application: Application = { operator: operator as Operator, attributes, operands: values, results };
  specs.forEach((resultSpec, index) => {
    results.push(makeValue(resultSpec, { kind: "result", application, index }));
  });
  return results;
}

/** {@link apply} for operators with one result. */
export function applyOne<A extends object>(operator: Operator<A>, operands: readonly Operand[], attributes: A): Value {
  return apply(operator, operands, attributes)[0]!;
}

/** Checks the options of an operator as {@link parseOptions} does and says where in the user's code they were given. */
export function operatorOptions<S extends z.ZodType>(name: string, schema: S, options: unknown): z.output<S> {
  try {
    return parseOptions(`core-gpu.ops.${name}`, schema, options);
  } catch (error) {
    if (error instanceof InputError) error.message += at();
    throw error;
  }
}

/** Turns a {@link Refusal} thrown by `rule` into an InputError that names the operator, its operands and the user's line. */
function refusing<T>(caller: string, operands: readonly Value[], rule: () => T): T {
  try {
    return rule();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const given = operands.map(printSpec).join(" and ");
    const actual = error.actual === undefined ? given : given === "" ? error.actual : `${error.actual} for ${given}`;
    const named = operands.length === 0 ? "" : ` Operands: ${operands.map(origin).join(", ")}.`;
    throw new InputError(caller, error.message, actual, `${error.fix ?? ""}${named}${at()}`.trim());
  }
}

/** Where a value comes from, for messages: `input "params.weight"`. */
export function origin({ producer }: Value): string {
  if (producer.kind === "input") return `input "${producer.name}"`;
  return producer.kind === "constant" ? "a constant" : `result of ops.${producer.application.operator.name}`;
}

function at(): string {
  const site = callSite();
  return site === null ? "" : ` At ${site}`;
}

function toValue(caller: string, operand: Operand, index: number, dtype: DType): Value {
  if (isValue(operand)) return operand;
  if (isTensor(operand)) return makeValue(operand, { kind: "constant", tensor: operand });
  if (typeof operand !== "number") {
    throw new InputError(
      caller,
      `operand ${index + 1} must be a traced value, a tensor or a number`,
      printed(operand),
      at().trim(),
    );
  }
  if (!(dtype.startsWith("float") || Number.isSafeInteger(operand))) {
    throw new InputError(caller, `a number beside ${dtype} operands must be whole`, String(operand), at().trim());
  }
  const scalar = tensor(dtype, [], [operand]);
  return makeValue(scalar, { kind: "constant", tensor: scalar });
}
