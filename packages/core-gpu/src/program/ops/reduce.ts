import { z } from "zod";
import type { DType } from "../../tensor.ts";
import type { Shape } from "../dimensions.ts";
import type { OnnxGraph } from "../onnx-graph.ts";
import {
  type Differentiation,
  floats,
  normaliseAxes,
  normaliseAxis,
  numbers,
  type Operator,
  refuse,
  requireDType,
} from "../operator.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { expandTo, type Ops, reshaped, scale, times } from "./common.ts";

interface ReduceAttributes {
  readonly axes: number | readonly number[] | undefined;
  readonly keepDimensions: boolean;
}

function reduction(
  name: string,
  onnx: string,
  dtypes: readonly DType[],
  gradient: NonNullable<Operator<ReduceAttributes>["gradient"]>,
): Operator<ReduceAttributes> {
  return {
    name,
    onnx,
    gradient,
    infer([x], { axes, keepDimensions }) {
      requireDType(dtypes, x!);
      const reduced = normaliseAxes(axes, x!.shape.length);
      return [{ dtype: x!.dtype, shape: reduceShape(x!.shape, reduced, keepDimensions) }];
    },
    emit({ graph, attributes: { axes, keepDimensions }, inputs, outputs, inputSpecs }) {
      const reduced = normaliseAxes(axes, inputSpecs[0]!.shape.length);
      emitReduction(graph, onnx, inputs[0]!, reduced, keepDimensions, outputs);
    },
  };
}

function reduceShape(shape: Shape, axes: readonly number[], keepDimensions: boolean): Shape {
  return shape.flatMap((dimension, axis) => (!axes.includes(axis) ? [dimension] : keepDimensions ? [1] : []));
}

/** A reduction in the graph: its axes are an attribute in old opsets and an input in new ones, and none means all. */
export function emitReduction(
  graph: OnnxGraph,
  type: string,
  x: string,
  axes: readonly number[],
  keepDimensions: boolean,
  outputs?: readonly string[],
): string {
  const keepdims = keepDimensions ? 1 : 0;
  if (axes.length === 0) return graph.node(type, [x], { keepdims }, outputs);
  return graph.opset >= (type === "ReduceSum" ? 13 : 18)
    ? graph.node(type, [x, graph.ints(axes)], { keepdims }, outputs)
    : graph.node(type, [x], { axes, keepdims }, outputs);
}

/** A result of the reduction, or its gradient, such that it broadcasts against the operand. */
function kept({ ops, attributes, operands: [x] }: Differentiation<ReduceAttributes>, value: Value): Value {
  if (attributes.keepDimensions) return value;
  const axes = normaliseAxes(attributes.axes, x!.shape.length);
  // Broadcasting adds what is missing before the first axis.
  if (axes.every((axis, at) => axis === at)) return value;
  return reshaped(ops, value, reduceShape(x!.shape, axes, true), () => ops.unsqueeze(value, axes));
}

const Sum = reduction("sum", "ReduceSum", numbers, (application) => {
  const { ops, operands, gradients } = application;
  return [expandTo(ops, kept(application, gradients[0]!), operands[0]!)];
});
const Mean = reduction("mean", "ReduceMean", floats, (application) => {
  const { ops, attributes, operands, gradients } = application;
  const [x] = operands;
  const share = divideByCount(
    ops,
    kept(application, gradients[0]!),
    x!,
    normaliseAxes(attributes.axes, x!.shape.length),
  );
  return [expandTo(ops, share, x!)];
});
const Max = reduction("max", "ReduceMax", numbers, extremumGradient);
const Min = reduction("min", "ReduceMin", numbers, extremumGradient);
const Prod = reduction("prod", "ReduceProd", numbers, prodGradient);
const SumSquares = reduction("sumSquares", "ReduceSumSquare", floats, (application) => {
  const { ops, operands, gradients } = application;
  return [times(ops, scale(ops, kept(application, gradients[0]!), 2), operands[0]!)];
});
const LogSumExp = reduction("logSumExp", "ReduceLogSumExp", floats, (application) => {
  const { ops, operands, results, gradients } = application;
  const share = ops.exp(ops.sub(operands[0]!, kept(application, results[0]!)));
  return [times(ops, kept(application, gradients[0]!), share)];
});

/** `value` ÷ the number of elements of x along `axes`, which may be known only at run time. */
function divideByCount(ops: Ops, value: Value, x: Value, axes: readonly number[]): Value {
  const sizes = axes.map((axis) => x.shape[axis]!);
  const known = sizes.reduce<number>((product, size) => (typeof size === "number" ? product * size : product), 1);
  const unknown = axes.filter((axis) => typeof x.shape[axis] === "string");
  return unknown.reduce(
    (quotient, axis) => ops.div(quotient, ops.cast(ops.gather(ops.shapeOf(x), axis), x.dtype)),
    scale(ops, value, 1 / known),
  );
}

/** As PyTorch's `amax`: equals share the gradient. */
function extremumGradient(application: Differentiation<ReduceAttributes>): Value[] {
  const { ops, attributes, operands, results, gradients } = application;
  const [x] = operands;
  const found = ops.cast(ops.equal(x!, kept(application, results[0]!)), x!.dtype);
  const axes = normaliseAxes(attributes.axes, x!.shape.length);
  if (axes.length === 0) return [gradients[0]!];
  const share = ops.div(kept(application, gradients[0]!), ops.sum(found, { axes, keepDimensions: true }));
  return [ops.mul(found, share)];
}

/** The product of all others, also where elements are 0. */
function prodGradient(application: Differentiation<ReduceAttributes>): Value[] {
  const { ops, attributes, operands, gradients } = application;
  const [x] = operands;
  const axes = normaliseAxes(attributes.axes, x!.shape.length);
  if (axes.length === 0) return [gradients[0]!];
  const options = { axes, keepDimensions: true };
  const isZero = ops.equal(x!, 0);
  const zeros = ops.sum(ops.cast(isZero, x!.dtype), options);
  const filled = ops.where(isZero, 1, x!);
  const others = ops.div(ops.prod(filled, options), filled);
  const zerosElsewhere = ops.sub(zeros, ops.cast(isZero, x!.dtype));
  return [times(ops, kept(application, gradients[0]!), ops.where(ops.equal(zerosElsewhere, 0), others, 0))];
}

interface ArgAttributes {
  readonly axis: number;
  readonly keepDimensions: boolean;
}

function argReduction(name: string, onnx: string): Operator<ArgAttributes> {
  return {
    name,
    onnx,
    gradient: "zero",
    infer([x], { axis, keepDimensions }) {
      requireDType(floats, x!);
      const along = normaliseAxis(axis, x!.shape.length);
      if (x!.shape[along] === 0) refuse("the axis must not be empty");
      return [{ dtype: "int64", shape: reduceShape(x!.shape, [along], keepDimensions) }];
    },
    emit({ graph, attributes: { axis, keepDimensions }, inputs, outputs }) {
      graph.node(onnx, inputs, { axis, keepdims: keepDimensions ? 1 : 0 }, outputs);
    },
  };
}

const ArgMax = argReduction("argMax", "ArgMax");
const ArgMin = argReduction("argMin", "ArgMin");

export const operators = [Sum, Mean, Max, Min, Prod, SumSquares, LogSumExp, ArgMax, ArgMin] as readonly Operator[];

/** Options of the reductions. */
export interface ReduceOptions {
  /** Axes that are reduced; negative ones count from the end. Default: all. */
  readonly axes?: number | readonly number[];
  /** Whether reduced axes stay, with size 1. Default false. */
  readonly keepDimensions?: boolean;
}

const reduceOptions = z.strictObject({
  axes: z.union([z.int(), z.array(z.int()).min(1)]).optional(),
  keepDimensions: z.boolean().default(false),
});

function reduce(operator: Operator<ReduceAttributes>, x: Operand, options: ReduceOptions | undefined): Value {
  const { axes, keepDimensions } = operatorOptions(operator.name, reduceOptions, options);
  return applyOne(operator, [x], { axes, keepDimensions });
}

/** Sum over axes (default all). ONNX ReduceSum. */
export function sum(x: Operand, options?: ReduceOptions): Value {
  return reduce(Sum, x, options);
}

/** Mean over axes (default all); float32 or float64. ONNX ReduceMean. */
export function mean(x: Operand, options?: ReduceOptions): Value {
  return reduce(Mean, x, options);
}

/** Largest element over axes (default all); for the larger of two operands see `maximum`. ONNX ReduceMax. */
export function max(x: Operand, options?: ReduceOptions): Value {
  return reduce(Max, x, options);
}

/** Smallest element over axes (default all); for the smaller of two operands see `minimum`. ONNX ReduceMin. */
export function min(x: Operand, options?: ReduceOptions): Value {
  return reduce(Min, x, options);
}

/** Product over axes (default all). ONNX ReduceProd. */
export function prod(x: Operand, options?: ReduceOptions): Value {
  return reduce(Prod, x, options);
}

/** Sum of squares over axes (default all); float32 or float64. ONNX ReduceSumSquare. */
export function sumSquares(x: Operand, options?: ReduceOptions): Value {
  return reduce(SumSquares, x, options);
}

/** `ln Σ e^x` over axes (default all); float32 or float64. ONNX ReduceLogSumExp. */
export function logSumExp(x: Operand, options?: ReduceOptions): Value {
  return reduce(LogSumExp, x, options);
}

/** Options of {@link argMax} and {@link argMin}. */
export interface ArgReduceOptions {
  /** The axis that is searched; negative ones count from the end. Default −1. */
  readonly axis?: number;
  /** Whether the axis stays, with size 1. Default false. */
  readonly keepDimensions?: boolean;
}

const argOptions = z.strictObject({ axis: z.int().default(-1), keepDimensions: z.boolean().default(false) });

/** Index of the largest element along an axis (default the last), the first of equals; float32 or float64 → int64. ONNX ArgMax. */
export function argMax(x: Operand, options?: ArgReduceOptions): Value {
  return applyOne(ArgMax, [x], operatorOptions("argMax", argOptions, options));
}

/** Index of the smallest element along an axis (default the last), the first of equals; float32 or float64 → int64. ONNX ArgMin. */
export function argMin(x: Operand, options?: ArgReduceOptions): Value {
  return applyOne(ArgMin, [x], operatorOptions("argMin", argOptions, options));
}
