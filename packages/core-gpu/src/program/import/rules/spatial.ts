import type { Dimension } from "../../dimensions.ts";
import * as ops from "../../ops/index.ts";
import type { Value } from "../../value.ts";
import { type ImportNode, unsupported } from "../node.ts";
import { onlyResults, type Rules } from "./rule.ts";

interface Sliding {
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  readonly padding: readonly (readonly [number, number])[];
}

/** The window of a node that slides over x. */
function sliding(node: ImportNode, x: Value, weight?: Value): Sliding {
  const count = x.shape.length - 2;
  if (count !== 1 && count !== 2) unsupported(`it slides over ${count} axes`);
  const kernel = (weight?.shape.slice(2) as number[] | undefined) ?? node.ints("kernel_shape") ?? [];
  const one = Array<number>(count).fill(1);
  const stride = node.ints("strides") ?? one;
  const dilation = node.ints("dilations") ?? one;
  const pads = node.ints("pads") ?? [...one, ...one].map(() => 0);
  const auto = node.text("auto_pad", "NOTSET");
  const padding = one.map((_, axis): readonly [number, number] => {
    if (auto === "NOTSET" || auto === "") return [pads[axis]!, pads[axis + count]!];
    if (auto === "VALID") return [0, 0];
    return samePadding(x.shape[axis + 2]!, kernel[axis]!, stride[axis]!, dilation[axis]!, auto === "SAME_LOWER");
  });
  return { kernel, stride, dilation, padding };
}

/** As many zeros as make the result `ceil(size ÷ stride)`; an odd one goes behind, or before if `lower`. */
function samePadding(
  size: Dimension,
  kernel: number,
  stride: number,
  dilation: number,
  lower: boolean,
): readonly [number, number] {
  const reach = (kernel - 1) * dilation + 1;
  if (typeof size === "string" && stride > 1)
    unsupported(`auto_pad on the symbolic size ${size} with stride ${stride}`);
  const covered = typeof size === "string" ? 0 : (Math.ceil(size / stride) - 1) * stride - size + 1;
  const total = Math.max(0, covered + reach - 1);
  const less = Math.floor(total / 2);
  return lower ? [total - less, less] : [less, total - less];
}

/** The padding that makes rounding down give what rounding up would. */
function roundedUp(node: ImportNode, x: Value, window: Sliding): Sliding {
  if (node.int("ceil_mode", 0) === 0) return window;
  const padding = window.padding.map(([before, after], axis): readonly [number, number] => {
    const size = x.shape[axis + 2]!;
    if (typeof size === "string") unsupported(`it rounds the symbolic size ${size} up`);
    const [stride, reach] = [window.stride[axis]!, (window.kernel[axis]! - 1) * window.dilation[axis]! + 1];
    const span = size + before + after - reach;
    const last = Math.ceil(span / stride) * stride;
    // A window that would begin behind the image is left out.
    return last >= size + before ? [before, after] : [before, after + last - span];
  });
  return { ...window, padding };
}

function conv(node: ImportNode): Value {
  const [x, weight] = [node.value(0), node.value(1)];
  const { stride, dilation, padding } = sliding(node, x, weight);
  const bias = node.has(2) ? { bias: node.value(2) } : {};
  return ops.conv(x, weight, { stride, dilation, padding, groups: node.int("group", 1), ...bias });
}

function convTranspose(node: ImportNode): Value {
  const [x, weight] = [node.value(0), node.value(1)];
  if (node.attribute("output_shape") !== undefined) unsupported("it states its output's shape");
  if (node.text("auto_pad", "NOTSET").startsWith("SAME")) unsupported("it pads by itself");
  const { stride, dilation, padding } = sliding(node, x, weight);
  const outputPadding = node.ints("output_padding") ?? 0;
  const bias = node.has(2) ? { bias: node.value(2) } : {};
  const groups = node.int("group", 1);
  return ops.convTranspose(x, weight, { stride, dilation, padding, outputPadding, groups, ...bias });
}

function maxPool(node: ImportNode): Value {
  onlyResults(node, 1);
  const x = node.value(0);
  return ops.maxPool(x, roundedUp(node, x, sliding(node, x)));
}

function averagePool(node: ImportNode): Value {
  const x = node.value(0);
  const { dilation, ...window } = sliding(node, x);
  if (dilation.some((distance) => distance !== 1)) unsupported("its window is dilated");
  const rounded = roundedUp(node, x, { ...window, dilation });
  const countPadding = node.int("count_include_pad", 0) === 1;
  if (countPadding && JSON.stringify(rounded.padding) !== JSON.stringify(window.padding))
    unsupported("it rounds its size up and counts padding");
  const padded = rounded.padding.flat().some((amount) => amount > 0);
  return ops.averagePool(x, { ...window, padding: rounded.padding, countPadding: countPadding || !padded });
}

export const spatial: Rules = {
  Conv: conv,
  ConvTranspose: convTranspose,
  MaxPool: maxPool,
  AveragePool: averagePool,
  GlobalAveragePool: (node) => ops.globalAveragePool(node.value(0)),
  GlobalMaxPool: (node) => {
    const x = node.value(0);
    return ops.max(x, { axes: x.shape.slice(2).map((_, axis) => axis + 2), keepDimensions: true });
  },
};
