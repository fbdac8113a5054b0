import type { DType } from "../tensor.ts";
import type { OnnxGraph } from "./onnx-graph.ts";
import type * as Ops from "./ops/index.ts";
import { printSpec, type Spec } from "./spec.ts";
import type { Value } from "./value.ts";

/**
 * One operator, in one place: its name, its ONNX name, its shape rule, its gradient and its ONNX form. A program's nodes
 * point at it.
 *
 * @typeParam A Its attributes: plain readonly data, fixed when the program is traced.
 */
export interface Operator<A extends object = object> {
  /** The name of the function in `ops`. */
  readonly name: string;
  /** The operator of the ONNX standard (domain `ai.onnx`) that it is, or, if several, that gives its meaning. */
  readonly onnx: string;
  /** The shape rule: specs of the results from specs of the operands. Refuses by calling `refuse`. */
  // Methods, not function properties: operators of different attributes then share one list.
  infer(operands: readonly Spec[], attributes: A): readonly Spec[];
  /**
   * The gradient rule: from the loss's gradients with respect to the results to those with respect to the operands, as
   * operators again. Null says that an operand's gradient is zero everywhere; what is not needed may be left out.
   * `"zero"` says so of all operands (comparisons, roundings). An operator without a rule cannot be differentiated.
   */
  readonly gradient?: Gradient<A>;
  /** Writes the ONNX form for `application.graph.opset`; its last nodes write `application.outputs`. */
  emit(application: Emission<A>): void;
}

/** See {@link Operator.gradient}. */
// Taken from a method, for the same reason.
type Gradient<A extends object> = "zero" | { rule(application: Differentiation<A>): readonly (Value | null)[] }["rule"];

/** One application of an operator on its way into an ONNX graph: names of tensors there, and what is known of them. */
export interface Emission<A extends object = object> {
  readonly graph: OnnxGraph;
  readonly attributes: A;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly inputSpecs: readonly Spec[];
  readonly outputSpecs: readonly Spec[];
}

/** One application of an operator on the way back from the loss. */
export interface Differentiation<A extends object = object> {
  /** All operators, to write the rule with. */
  readonly ops: typeof Ops;
  readonly attributes: A;
  readonly operands: readonly Value[];
  readonly results: readonly Value[];
  /** For each result the loss's gradient with respect to it, of the result's shape; null where the loss does not use it. */
  readonly gradients: readonly (Value | null)[];
  /** For each operand whether its gradient is asked for. */
  readonly needed: readonly boolean[];
}

/** Thrown by shape rules; becomes an InputError that names the operator, its operands and the user's line. */
export class Refusal extends Error {
  readonly actual: string | undefined;
  readonly fix: string | undefined;

  constructor(expectation: string, actual?: string, fix?: string) {
    super(expectation);
    this.actual = actual;
    this.fix = fix;
  }
}

/** Ends a shape rule: what was expected, optionally what came instead (default: the operands' specs) and the fix. */
export function refuse(expectation: string, actual?: string, fix?: string): never {
  throw new Refusal(expectation, actual, fix);
}

export const floats: readonly DType[] = ["float32", "float64"];
export const numbers: readonly DType[] = ["float32", "float64", "int32", "int64"];

/** Refuses operands of another dtype than one of `allowed`. */
export function requireDType(allowed: readonly DType[], ...operands: readonly Spec[]): void {
  if (operands.some(({ dtype }) => !allowed.includes(dtype))) {
    refuse(`dtype must be ${allowed.join(" or ")}`, undefined, "Use ops.cast.");
  }
}

/** Refuses operands that do not all have the same dtype. */
export function requireSameDType(...operands: readonly Spec[]): void {
  if (operands.some(({ dtype }) => dtype !== operands[0]!.dtype)) {
    refuse("operands must have the same dtype", undefined, "Use ops.cast.");
  }
}

/** Refuses any other rank. */
export function requireRank(what: string, operand: Spec, rank: number): void {
  if (operand.shape.length !== rank) refuse(`${what} must have ${rank} dimensions`, printSpec(operand));
}

/** An axis as 0 … rank − 1; negative ones count from the end. */
export function normaliseAxis(axis: number, rank: number): number {
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank) {
    refuse(`axis must be a whole number from ${-rank} to ${rank - 1}`, String(axis));
  }
  return axis < 0 ? axis + rank : axis;
}

/** Several axes, or all where none are given, as sorted distinct 0 … rank − 1. */
export function normaliseAxes(axes: number | readonly number[] | undefined, rank: number): readonly number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, axis) => axis);
  const normal = (typeof axes === "number" ? [axes] : axes).map((axis) => normaliseAxis(axis, rank));
  if (new Set(normal).size !== normal.length) refuse("axes must be distinct", `[${normal.join(", ")}]`);
  return normal.sort((a, b) => a - b);
}
