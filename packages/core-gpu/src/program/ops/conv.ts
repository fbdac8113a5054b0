import { z } from "zod";
import { type Operator, requireDType } from "../operator.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { allButChannels, type ConvAttributes, convShape } from "./conv-shape.ts";
import { emitConv, isConstant } from "./emit-conv.ts";
import { knownSizes, makeWindow, type Padding, type PerAxis, windowOptions } from "./window.ts";

const Conv: Operator<ConvAttributes> = {
  name: "conv",
  onnx: "Conv",
  infer(operands, attributes) {
    const [x, weight, bias] = operands;
    requireDType(["float32"], ...operands);
    return [{ dtype: x!.dtype, shape: convShape(x!, weight!, bias, attributes) }];
  },
  gradient: ({ ops, attributes, operands: [x, weight], gradients: [d], needed }) => [
    needed[0] ? ops.convInputGradient(d!, weight!, x!.shape, attributes) : null,
    needed[1] ? ops.convWeightGradient(x!, d!, weight!.shape, attributes) : null,
    needed[2] ? ops.sum(d!, { axes: allButChannels(d!.shape.length) }) : null,
  ],
  emit({ graph, attributes, inputs, outputs, inputSpecs }) {
    const [x, weight, bias] = inputs as [string, string, string | undefined];
    const shape = knownSizes("weight", inputSpecs[1]!.shape);
    const window = makeWindow(shape.length - 2, attributes);
    const { groups } = attributes;
    emitConv(graph, { x, weight, bias, shape, groups, window, constant: isConstant(graph, weight) }, outputs);
  },
};

export const operators = [Conv] as readonly Operator[];

/** Options of {@link conv}. */
export interface ConvOptions {
  /** Added to every output channel, [out]. Default: nothing. */
  readonly bias?: Operand;
  /** Step of the window. Default 1. */
  readonly stride?: PerAxis;
  /** Zeros around the input. Default 0. */
  readonly padding?: Padding;
  /** Distance of the window's elements. Default 1. */
  readonly dilation?: PerAxis;
  /** Groups of channels that see only each other; c for a depthwise convolution. Default 1. */
  readonly groups?: number;
}

const convOptions = z.strictObject({
  ...windowOptions,
  bias: z.custom<Operand>().optional(),
  groups: z.int().min(1).default(1),
});

/**
 * Convolution (cross-correlation, as everywhere in deep learning) over one or two spatial axes: x [n, c, w] or
 * [n, c, h, w], weight [out, c ÷ groups, (kernel h,) kernel w] → [n, out, (h',) w'], where
 * `h' = floor((h + padding − dilation·(kernel − 1) − 1) ÷ stride) + 1`. float32. ONNX Conv.
 */
export function conv(x: Operand, weight: Operand, options?: ConvOptions): Value {
  const { bias, stride = 1, padding, dilation, groups } = operatorOptions("conv", convOptions, options);
  return applyOne(Conv, bias === undefined ? [x, weight] : [x, weight, bias], { stride, padding, dilation, groups });
}
