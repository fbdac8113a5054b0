import { z } from "zod";
import { tensor } from "../../tensor.ts";
import { multiplyDimensions } from "../dimensions.ts";
import { floats, type Operator, refuse, requireDType } from "../operator.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { inferPool, kernelOption, type PoolAttributes, type PoolOptions } from "./pool-shape.ts";
import { makeWindow, type PerAxis, spread, windowAttributes, windowOptions } from "./window.ts";

const MaxPool: Operator<PoolAttributes> = {
  name: "maxPool",
  onnx: "MaxPool",
  infer([x], attributes) {
    requireDType(floats, x!);
    return inferPool(x!, attributes);
  },
  gradient: ({ ops, attributes, operands: [x], gradients: [d] }) => [ops.maxPoolGradient(x!, d!, attributes)],
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
  // A sum over windows is a convolution with ones, of every channel by itself: channels become images.
  gradient: ({ ops, attributes: { kernel, countPadding, ...window }, operands: [x], gradients: [d] }) => {
    const spatial = x!.shape.slice(2);
    const sizes = spread("kernel", kernel, spatial.length, 1);
    const ones = filled([1, 1, ...sizes], 1);
    const seen = countPadding
      ? sizes.reduce((product, size) => product * size, 1)
      : ops.conv(ops.expand(filled([1, 1, ...sizes.map(() => 1)], 1), [1, 1, ...spatial]), ones, window);
    const images = multiplyDimensions(x!.shape.slice(0, 2));
    const alone = ops.reshape(ops.div(d!, seen), [images, 1, ...d!.shape.slice(2)]);
    return [ops.reshape(ops.convInputGradient(alone, ones, [images, 1, ...spatial], window), x!.shape)];
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
  gradient: ({ ops, operands: [x], gradients: [d] }) => {
    const spatial = x!.shape.slice(2);
    const known = spatial.every((size) => typeof size === "number");
    const axes = tensor(
      "int64",
      [spatial.length],
      spatial.map((_, axis) => axis + 2),
    );
    const count = known
      ? spatial.reduce((product, size) => product * size, 1)
      : ops.cast(ops.prod(ops.gather(ops.shapeOf(x!), axes)), x!.dtype);
    return [ops.expand(ops.div(d!, count), x!.shape)];
  },
  emit: ({ graph, inputs, outputs }) => void graph.node("GlobalAveragePool", inputs, {}, outputs),
};

function filled(shape: readonly number[], value: number) {
  const result = tensor("float32", shape);
  result.data.fill(value);
  return result;
}

export const operators = [MaxPool, AveragePool, GlobalAveragePool] as readonly Operator[];

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
