import { z } from "zod";
import { type Dimension, printShape, sameShape } from "../dimensions.ts";
import { float } from "../onnx-graph.ts";
import { floats, type Operator, refuse, requireDType, requireSameDType } from "../operator.ts";
import type { Spec } from "../spec.ts";
import { apply, applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { div, maximum, mul, sub } from "./arithmetic.ts";
import { allButChannels } from "./conv-shape.ts";
import { emitBatchNormGradient, emitBatchNormTraining } from "./emit-batch-norm.ts";
import { cast } from "./logic.ts";
import { prod } from "./reduce.ts";
import { gather } from "./select.ts";
import { shapeOf } from "./shape.ts";

interface Epsilon {
  readonly epsilon: number;
}

const BatchNormalization: Operator<Epsilon> = {
  name: "batchNorm",
  onnx: "BatchNormalization",
  infer(operands) {
    requireChannels(operands, "scale, bias, mean and variance");
    return [operands[0]!];
  },
  gradient: ({ ops, attributes, operands, gradients: [d], needed }) => {
    const [x, scale, , mean, variance] = operands as [Value, Value, Value, Value, Value];
    const perChannel = (value: Value) => ops.reshape(value, [1, -1, ...x.shape.slice(2).map(() => 1)]);
    const axes = allButChannels(x.shape.length);
    const inverse = ops.div(1, ops.sqrt(ops.add(variance, attributes.epsilon)));
    const factor = ops.mul(scale, inverse);
    const total = needed[2] || needed[3] ? ops.sum(d!, { axes }) : undefined;
    const slope =
      needed[1] || needed[4]
        ? ops.mul(ops.sum(ops.mul(d!, ops.sub(x, perChannel(mean))), { axes }), inverse)
        : undefined;
    return [
      needed[0] ? ops.mul(d!, perChannel(factor)) : null,
      needed[1] ? slope! : null,
      needed[2] ? total! : null,
      needed[3] ? ops.neg(ops.mul(factor, total!)) : null,
      needed[4] ? ops.mul(ops.mul(slope!, ops.mul(factor, inverse)), -0.5) : null,
    ];
  },
  emit: ({ graph, attributes, inputs, outputs }) =>
    void graph.node("BatchNormalization", inputs, { epsilon: float(attributes.epsilon) }, outputs),
};

const BatchNormTraining: Operator<Epsilon> = {
  name: "batchNormTraining",
  onnx: "BatchNormalization",
  infer(operands) {
    const channels = requireChannels(operands, "scale and bias");
    const statistic: Spec = { dtype: operands[0]!.dtype, shape: [channels] };
    return [operands[0]!, statistic, statistic];
  },
  gradient: ({ ops, attributes, operands: [x, scale], results: [, mean, variance], gradients, needed }) => {
    const [d, dMean, dVariance] = gradients as [Value | null, Value | null, Value | null];
    const parts: readonly (Value | null)[] =
      d === null
        ? [null, null, null]
        : Object.values(ops.batchNormGradient(x!, d, scale!, mean!, variance!, attributes));
    if (!needed[0] || (dMean === null && dVariance === null)) return parts;
    // Losses of the statistics themselves: ∂ mean ÷ ∂ x = 1 ÷ m and ∂ variance ÷ ∂ x = 2 (x − mean) ÷ m.
    const perChannel = (value: Value) => ops.reshape(value, [1, -1, ...x!.shape.slice(2).map(() => 1)]);
    const share = (value: Value) => perChannel(ops.div(value, elementsPerChannel(x!)));
    const terms = [
      ...(parts[0] == null ? [] : [parts[0]]),
      ...(dMean === null ? [] : [share(dMean)]),
      ...(dVariance === null ? [] : [ops.mul(share(ops.mul(dVariance, 2)), ops.sub(x!, perChannel(mean!)))]),
    ];
    return [
      ops.expand(
        terms.reduce((sum, term) => ops.add(sum, term)),
        x!.shape,
      ),
      parts[1]!,
      parts[2]!,
    ];
  },
  emit: emitBatchNormTraining,
};

const BatchNormGradient: Operator<Epsilon> = {
  name: "batchNormGradient",
  onnx: "BatchNormalization",
  infer(operands) {
    const [x, gradient, ...statistics] = operands;
    const channels = requireChannels([x!, ...statistics], "scale, mean and variance");
    if (!sameShape(x!.shape, gradient!.shape) || x!.dtype !== gradient!.dtype)
      refuse(`the gradient must be like x, ${x!.dtype} ${printShape(x!.shape)}`);
    const statistic: Spec = { dtype: x!.dtype, shape: [channels] };
    return [x!, statistic, statistic];
  },
  emit: emitBatchNormGradient,
};

/** The number of channels; refuses operands behind the first that are not one number for each. */
function requireChannels(operands: readonly Spec[], names: string): Dimension {
  const [x, ...parameters] = operands;
  requireDType(floats, ...operands);
  requireSameDType(...operands);
  const channels = x!.shape[1];
  if (channels === undefined) refuse("x must be [n, c, ...]");
  if (parameters.some(({ shape }) => !sameShape(shape, [channels]))) {
    refuse(`${names} must have shape [${channels}], x's second dimension`);
  }
  return channels;
}

/** How many elements of x a channel has: a number, or a scalar where a dimension is a symbol. */
export function elementsPerChannel(x: Value): Value | number {
  const axes = allButChannels(x.shape.length);
  const sizes = axes.map((axis) => x.shape[axis]!);
  if (sizes.every((size) => typeof size === "number")) return sizes.reduce((product, size) => product * size, 1);
  const chosen = { dtype: "int64", shape: [axes.length], data: BigInt64Array.from(axes, BigInt) } as const;
  return cast(prod(gather(shapeOf(x), chosen)), x.dtype);
}

export const operators = [BatchNormalization, BatchNormTraining, BatchNormGradient] as readonly Operator[];

/** Options of {@link batchNorm} and {@link batchNormTraining}. */
export interface BatchNormOptions {
  /** Added to the variance. Default 1e-5. */
  readonly epsilon?: number;
}

const batchNormOptions = z.strictObject({ epsilon: z.number().positive().default(1e-5) });

/**
 * Batch normalisation with known statistics, as at inference: `(x − mean) ÷ √(variance + ε) · scale + bias` on each
 * channel; x [n, c, ...], the others [c]; float32 or float64. ONNX BatchNormalization.
 *
 * @param scale PyTorch's `weight`, often γ.
 * @param bias Often β.
 */
export function batchNorm(
  x: Operand,
  scale: Operand,
  bias: Operand,
  mean: Operand,
  variance: Operand,
  options?: BatchNormOptions,
): Value {
  const attributes = operatorOptions("batchNorm", batchNormOptions, options);
  return applyOne(BatchNormalization, [x, scale, bias, mean, variance], attributes);
}

/** What {@link batchNormTraining} gives. */
export interface BatchNormTrainingResult {
  /** x normalised, of its shape. */
  readonly y: Value;
  /** Mean of each channel of this batch, [c]. */
  readonly mean: Value;
  /** Variance of each channel of this batch, divided by the number of elements m = n·h·w, [c]: what normalises x. */
  readonly variance: Value;
  /** The same divided by m − 1, [c]: what PyTorch's running variance is a mean of; 0 for one element, which has none. */
  readonly unbiasedVariance: Value;
}

/**
 * Batch normalisation by the batch's own statistics, as in training: `(x − mean) ÷ √(variance + ε) · scale + bias` with mean
 * and variance of each channel over n and all spatial axes; x [n, c, ...], scale and bias [c]; float32 or float64.
 *
 * The running statistics are the caller's: `running · (1 − momentum) + mean · momentum`, momentum 0.1 in PyTorch, of the mean
 * and of the unbiased variance.
 *
 * Source: Ioffe and Szegedy, Batch Normalization (2015), algorithm 1. ONNX arithmetic; BatchNormalization's training mode
 * is not in every runtime.
 */
export function batchNormTraining(
  x: Operand,
  scale: Operand,
  bias: Operand,
  options?: BatchNormOptions,
): BatchNormTrainingResult {
  const attributes = operatorOptions("batchNormTraining", batchNormOptions, options);
  const [y, mean, variance] = apply(BatchNormTraining, [x, scale, bias], attributes) as [Value, Value, Value];
  const elements = elementsPerChannel(y);
  const unbiasedVariance =
    typeof elements === "number"
      ? mul(variance, elements / Math.max(1, elements - 1))
      : div(mul(variance, elements), maximum(sub(elements, 1), 1));
  return { y, mean, variance, unbiasedVariance };
}

/** What {@link batchNormGradient} gives: gradients with respect to the operands of `batchNormTraining`. */
export interface BatchNormGradientResult {
  readonly x: Value;
  readonly scale: Value;
  readonly bias: Value;
}

/**
 * Gradients of {@link batchNormTraining}'s y with respect to x, scale and bias, the dependence of the statistics on x
 * included. With `d` the gradient that arrives, `n̂ = (x − mean) ÷ √(variance + ε)` and means over the m elements of a channel:
 * `bias: Σ d`, `scale: Σ d·n̂`, `x: scale ÷ √(variance + ε) · (d − mean(d) − n̂ · mean(d·n̂))`.
 *
 * @param x [n, c, ...] as it was normalised. @param gradient Of x's shape. @param scale [c]. @param mean [c].
 * @param variance [c], the biased one.
 */
export function batchNormGradient(
  x: Operand,
  gradient: Operand,
  scale: Operand,
  mean: Operand,
  variance: Operand,
  options?: BatchNormOptions,
): BatchNormGradientResult {
  const attributes = operatorOptions("batchNormGradient", batchNormOptions, options);
  const results = apply(BatchNormGradient, [x, gradient, scale, mean, variance], attributes);
  const [dx, dScale, dBias] = results as [Value, Value, Value];
  return { x: dx, scale: dScale, bias: dBias };
}
