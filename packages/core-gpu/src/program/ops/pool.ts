import { z } from "zod";
import { floats, type Operator, refuse, requireDType } from "../operator.ts";
import type { Spec } from "../spec.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { makeWindow, type Padding, type PerAxis, slide, spread, windowAttributes, windowOptions } from "./window.ts";

interface PoolAttributes {
  readonly kernel: PerAxis;
  readonly stride: PerAxis;
  readonly padding: Padding;
  readonly dilation: PerAxis;
}

function inferPool(x: Spec, attributes: PoolAttributes): readonly Spec[] {
  const count = x.shape.length - 2;
  if (count !== 1 && count !== 2) refuse("x must be [n, c, w] or [n, c, h, w]");
  const kernel = spread("kernel", attributes.kernel, count, 1);
  const window = makeWindow(count, attributes);
  if (kernel.some((size, axis) => Math.max(window.before[axis]!, window.after[axis]!) >= size)) {
    refuse(
      "padding must be smaller than the kernel",
      `padding ${JSON.stringify(attributes.padding)}, kernel ${kernel.join(" × ")}`,
    );
  }
  return [{ dtype: x.dtype, shape: [...x.shape.slice(0, 2), ...slide(x.shape.slice(2), kernel, window)] }];
}

const MaxPool: Operator<PoolAttributes> = {
  name: "maxPool",
  onnx: "MaxPool",
  infer([x], attributes) {
    requireDType(floats, x!);
    return inferPool(x!, attributes);
  },
  emit({ graph, attributes, inputs, outputs, inputSpecs }) {
    const count = inputSpecs[0]!.shape.length - 2;
    const kernel_shape = spread("kernel", attributes.kernel, count, 1);
    graph.node("MaxPool", inputs, { kernel_shape, ...windowAttributes(makeWindow(count, attributes)) }, outputs);
  },
};

const AveragePool: Operator<PoolAttributes & { readonly countPadding: boolean }> = {
  name: "averagePool",
  onnx: "AveragePool",
  infer([x], attributes) {
    requireDType(["float32"], x!);
    return inferPool(x!, attributes);
  },
  emit({ graph, attributes, inputs, outputs, inputSpecs }) {
    const count = inputSpecs[0]!.shape.length - 2;
    const kernel_shape = spread("kernel", attributes.kernel, count, 1);
    const { strides, pads } = windowAttributes(makeWindow(count, attributes));
    const count_include_pad = attributes.countPadding ? 1 : 0;
    graph.node("AveragePool", inputs, { kernel_shape, strides, pads, count_include_pad }, outputs);
  },
};

const GlobalAveragePool: Operator = {
  name: "globalAveragePool",
  onnx: "GlobalAveragePool",
  infer([x]) {
    requireDType(["float32"], x!);
    if (x!.shape.length < 3) refuse("x must have spatial dimensions: [n, c, ...]");
    return [{ dtype: x!.dtype, shape: [...x!.shape.slice(0, 2), ...x!.shape.slice(2).map(() => 1)] }];
  },
  emit: ({ graph, inputs, outputs }) => void graph.node("GlobalAveragePool", inputs, {}, outputs),
};

export const operators = [MaxPool, AveragePool, GlobalAveragePool] as readonly Operator[];

/** Options of {@link maxPool} and {@link averagePool}. */
export interface PoolOptions {
  /** Size of the window. */
  readonly kernel: PerAxis;
  /** Step of the window. Default: its size. */
  readonly stride?: PerAxis;
  /** Elements around the input, fewer than the window has. Default 0. */
  readonly padding?: Padding;
}

const kernelOption = { kernel: z.union([z.int(), z.array(z.int())]) };
const maxPoolOptions = z.strictObject({ ...kernelOption, ...windowOptions });
const averagePoolOptions = z.strictObject({
  ...kernelOption,
  stride: windowOptions.stride,
  padding: windowOptions.padding,
  countPadding: z.boolean().default(true),
});

/**
 * Maximum of each window, padding not counting: x [n, c, (h,) w] → [n, c, (h',) w'] with sizes as of `conv`; float32 or
 * float64. ONNX MaxPool.
 *
 * @param options.dilation Distance of the window's elements. Default 1.
 */
export function maxPool(x: Operand, options: PoolOptions & { readonly dilation?: PerAxis }): Value {
  const { kernel, stride = kernel, padding, dilation } = operatorOptions("maxPool", maxPoolOptions, options);
  return applyOne(MaxPool, [x], { kernel, stride, padding, dilation });
}

/**
 * Mean of each window: x [n, c, (h,) w] → [n, c, (h',) w'] with sizes as of `conv`; float32. ONNX AveragePool.
 *
 * @param options.countPadding Whether padding counts, as zeros; PyTorch's `count_include_pad`. Default true.
 */
export function averagePool(x: Operand, options: PoolOptions & { readonly countPadding?: boolean }): Value {
  const {
    kernel,
    stride = kernel,
    padding,
    countPadding,
  } = operatorOptions("averagePool", averagePoolOptions, options);
  return applyOne(AveragePool, [x], { kernel, stride, padding, dilation: 1, countPadding });
}

/** Mean over all spatial axes: x [n, c, h, w] → [n, c, 1, 1]; float32. ONNX GlobalAveragePool. */
export function globalAveragePool(x: Operand): Value {
  return applyOne(GlobalAveragePool, [x], {});
}
