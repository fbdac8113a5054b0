import { z } from "zod";
import { addDimensions, type Dimension } from "../dimensions.ts";
import { type Operator, refuse, requireDType, requireRank } from "../operator.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { allButChannels, type ConvAttributes, requireBias } from "./conv-shape.ts";
import { emitConvTranspose } from "./emit-conv-transpose.ts";
import { knownSizes, makeWindow, type Padding, type PerAxis, spread, windowOptions } from "./window.ts";

interface ConvTransposeAttributes extends ConvAttributes {
  readonly outputPadding: PerAxis;
}

const ConvTranspose: Operator<ConvTransposeAttributes> = {
  name: "convTranspose",
  onnx: "ConvTranspose",
  infer(operands, { groups, outputPadding, ...attributes }) {
    const [x, weight, bias] = operands;
    requireDType(["float32"], ...operands);
    const rank = x!.shape.length;
    if (rank !== 3 && rank !== 4) refuse("x must be [n, c, w] or [n, c, h, w]");
    requireRank("weight", weight!, rank);
    const [channels, perGroup, ...kernel] = knownSizes("weight", weight!.shape) as [number, number, ...number[]];
    if (x!.shape[1] !== channels) refuse(`x must have ${channels} channels (weight's first dimension)`);
    if (channels % groups !== 0) refuse(`weight's first dimension must be a multiple of the ${groups} groups`);
    requireBias(bias, perGroup * groups);
    const window = makeWindow(rank - 2, { ...attributes });
    const extra = spread("outputPadding", outputPadding, rank - 2, 0);
    const spatial = kernel.map((size, axis): Dimension => {
      const from = x!.shape[axis + 2]!;
      const stride = window.stride[axis]!;
      // PyTorch allows it to reach the dilation too; then convolving back would not give x's size.
      if (extra[axis]! >= stride)
        refuse("outputPadding must be smaller than the stride", JSON.stringify(outputPadding));
      const grown = extra[axis]! + window.dilation[axis]! * (size - 1) - window.before[axis]! - window.after[axis]!;
      if (stride === 1) return addDimensions(from, grown);
      if (typeof from === "string") refuse("spatial dimensions must be known numbers where the stride is not 1");
      return (from - 1) * stride + 1 + grown;
    });
    if (spatial.some((size) => typeof size === "number" && size < 1))
      refuse("the padding must leave something of each spatial axis", JSON.stringify(attributes.padding));
    return [{ dtype: "float32", shape: [x!.shape[0]!, perGroup * groups, ...spatial] }];
  },
  gradient: ({ ops, attributes: { outputPadding: _, ...window }, operands: [x, weight], gradients: [d], needed }) => [
    needed[0] ? ops.conv(d!, weight!, window) : null,
    needed[1] ? ops.convWeightGradient(d!, x!, weight!.shape, window) : null,
    needed[2] ? ops.sum(d!, { axes: allButChannels(d!.shape.length) }) : null,
  ],
  emit({
    graph,
    attributes: { groups, outputPadding, ...attributes },
    inputs: [x, weight, bias],
    outputs,
    inputSpecs,
  }) {
    const shape = knownSizes("weight", inputSpecs[1]!.shape);
    const window = makeWindow(shape.length - 2, attributes);
    const extra = spread("outputPadding", outputPadding, shape.length - 2, 0);
    emitConvTranspose(graph, { x: x!, weight: weight!, bias, shape, groups, window, outputPadding: extra }, outputs);
  },
};

export const operators = [ConvTranspose] as readonly Operator[];

/** Options of {@link convTranspose}. */
export interface ConvTransposeOptions {
  /** Added to every output channel, [out]. Default: nothing. */
  readonly bias?: Operand;
  /** Distance at which the windows are laid down. Default 1. */
  readonly stride?: PerAxis;
  /** Elements cut off around the result. Default 0. */
  readonly padding?: Padding;
  /** Elements added behind the result on each axis, fewer than the stride. Default 0. */
  readonly outputPadding?: PerAxis;
  /** Distance of the window's elements. Default 1. */
  readonly dilation?: PerAxis;
  /** Groups of channels that see only each other. Default 1. */
  readonly groups?: number;
}

const convTransposeOptions = z.strictObject({
  ...windowOptions,
  bias: z.custom<Operand>().optional(),
  outputPadding: z.union([z.int(), z.array(z.int())]).default(0),
  groups: z.int().min(1).default(1),
});

/**
 * Transposed convolution ("deconvolution"), the map a convolution's gradient makes: x [n, c, (h,) w], weight
 * [c, out ÷ groups, (kernel h,) kernel w] → [n, out, (h',) w'], where
 * `h' = (h − 1)·stride + dilation·(kernel − 1) + 1 + outputPadding − padding`. float32. ONNX ConvTranspose.
 */
export function convTranspose(x: Operand, weight: Operand, options?: ConvTransposeOptions): Value {
  const { bias, stride = 1, ...rest } = operatorOptions("convTranspose", convTransposeOptions, options);
  return applyOne(ConvTranspose, bias === undefined ? [x, weight] : [x, weight, bias], { stride, ...rest });
}
