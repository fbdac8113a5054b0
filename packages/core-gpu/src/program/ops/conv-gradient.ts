import { z } from "zod";
import { checkArguments } from "../../arguments.ts";
import { printShape, type Shape, sameShape } from "../dimensions.ts";
import { type Operator, refuse, requireDType } from "../operator.ts";
import type { Spec } from "../spec.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { type ConvAttributes, convShape } from "./conv-shape.ts";
import { emitConvInputGradient } from "./emit-conv-input-gradient.ts";
import { emitConvWeightGradient } from "./emit-conv-weight-gradient.ts";
import { windowOptions } from "./window.ts";

interface InputGradientAttributes extends ConvAttributes {
  readonly shape: Shape;
}

const ConvInputGradient: Operator<InputGradientAttributes> = {
  name: "convInputGradient",
  onnx: "ConvTranspose",
  infer([gradient, weight], { shape, ...attributes }) {
    requireDType(["float32"], gradient!, weight!);
    requireShape(gradient!, convShape({ dtype: "float32", shape }, weight!, undefined, attributes));
    return [{ dtype: "float32", shape }];
  },
  // Linear in both operands: its own gradients are the convolution and the weights' gradient again.
  gradient: ({
    ops,
    attributes: { shape: _, ...attributes },
    operands: [gradient, weight],
    gradients: [d],
    needed,
  }) => [
    needed[0] ? ops.conv(d!, weight!, attributes) : null,
    needed[1] ? ops.convWeightGradient(d!, gradient!, weight!.shape, attributes) : null,
  ],
  emit: emitConvInputGradient,
};

interface WeightGradientAttributes extends ConvAttributes {
  readonly shape: Shape;
}

const ConvWeightGradient: Operator<WeightGradientAttributes> = {
  name: "convWeightGradient",
  onnx: "MatMul",
  infer([x, gradient], { shape, ...attributes }) {
    requireDType(["float32"], x!, gradient!);
    requireShape(gradient!, convShape(x!, { dtype: "float32", shape }, undefined, attributes));
    return [{ dtype: "float32", shape }];
  },
  gradient: ({ ops, attributes: { shape: _, ...attributes }, operands: [x, gradient], gradients: [d], needed }) => [
    needed[0] ? ops.convInputGradient(gradient!, d!, x!.shape, attributes) : null,
    needed[1] ? ops.conv(x!, d!, attributes) : null,
  ],
  emit: emitConvWeightGradient,
};

function requireShape(gradient: Spec, shape: Shape): void {
  if (!sameShape(gradient.shape, shape))
    refuse(`the gradient must have the convolution's shape ${printShape(shape)}`, printShape(gradient.shape));
}

export const operators = [ConvInputGradient, ConvWeightGradient] as readonly Operator[];

/** Options of {@link convInputGradient} and {@link convWeightGradient}: the convolution's own, without the bias. */
export interface ConvGradientOptions extends Partial<ConvAttributes> {}

const gradientOptions = z.strictObject({ ...windowOptions, groups: z.int().min(1).default(1) });

/**
 * Gradient of a convolution with respect to its input: `Σ gradient · ∂ conv(x, weight) ÷ ∂ x`, which does not depend on x.
 * gradient [n, out, (h',) w'], weight [out, c ÷ groups, (kernel h,) kernel w] → `shape`. float32. ONNX Conv of the mirrored
 * weight where the stride is 1, else ConvTranspose.
 *
 * @param shape The input's shape [n, c, (h,) w].
 */
export function convInputGradient(
  gradient: Operand,
  weight: Operand,
  shape: Shape,
  options?: ConvGradientOptions,
): Value {
  checkArguments("core-gpu.ops.convInputGradient", { shape: [shape, "a shape"] });
  const { stride = 1, ...rest } = operatorOptions("convInputGradient", gradientOptions, options);
  return applyOne(ConvInputGradient, [gradient, weight], { stride, ...rest, shape: [...shape] });
}

/**
 * Gradient of a convolution with respect to its weight: `Σ gradient · ∂ conv(x, weight) ÷ ∂ weight`, which does not depend on
 * the weight. x [n, c, (h,) w], gradient [n, out, (h',) w'] → `shape`. float32. ONNX MatMul of shifted copies.
 *
 * @param shape The weight's shape [out, c ÷ groups, (kernel h,) kernel w].
 */
export function convWeightGradient(x: Operand, gradient: Operand, shape: Shape, options?: ConvGradientOptions): Value {
  checkArguments("core-gpu.ops.convWeightGradient", { shape: [shape, "a shape"] });
  const { stride = 1, ...rest } = operatorOptions("convWeightGradient", gradientOptions, options);
  return applyOne(ConvWeightGradient, [x, gradient], { stride, ...rest, shape: [...shape] });
}
