import type { Dimension, Shape } from "../dimensions.ts";
import type { OnnxGraph } from "../onnx-graph.ts";
import type { Spec } from "../spec.ts";
import { type Window, windowAttributes } from "./window.ts";

/** A transposed convolution in the graph: names of tensors, and the weight's shape [c, out ÷ groups, ...kernel]. */
interface Transposed {
  readonly x: string;
  readonly weight: string;
  readonly bias?: string | undefined;
  readonly shape: readonly number[];
  readonly groups: number;
  readonly window: Window;
  readonly outputPadding: readonly number[];
}

/** Writes ONNX ConvTranspose. */
export function emitConvTranspose(graph: OnnxGraph, transposed: Transposed, outputs?: readonly string[]): string {
  const { x, weight, bias, shape, groups, window, outputPadding } = transposed;
  const [channels, perGroup, ...kernel] = shape as [number, number, ...number[]];
  const attributes = {
    kernel_shape: kernel,
    group: groups,
    ...windowAttributes(window),
    output_padding: outputPadding,
  };
  const wrong = graph.provider === "webgpu" && groups > 1 && perGroup === 1 && channels !== groups;
  if (!wrong) {
    return graph.node("ConvTranspose", [x, weight, ...(bias === undefined ? [] : [bias])], attributes, outputs);
  }
  // ONNX Runtime 1.30 on WebGPU errs where a group takes several channels and gives one: here it gives a second, of zeros.
  const widened = graph.node("Pad", [weight, graph.ints([...shape.map(() => 0), 0, 1, ...kernel.map(() => 0)])]);
  const pairs = graph.node("ConvTranspose", [x, widened], attributes);
  const list = (value: number) => graph.ints([value]);
  const firsts = [pairs, list(0), list(2 ** 31 - 1), list(1), list(2)];
  if (bias === undefined) return graph.node("Slice", firsts, {}, outputs);
  const wide = graph.node("Reshape", [bias, graph.ints([groups, ...kernel.map(() => 1)])]);
  return graph.node("Add", [graph.node("Slice", firsts), wide], {}, outputs);
}

/**
 * Writes the transposed convolution whose result has the spatial sizes `to`: those a convolution with this window came from.
 * There may be elements behind its last window, to which nothing comes: `output_padding`. Where their number is not known, as
 * many as can be are written and those too many cut off.
 */
export function emitLaidDown(
  graph: OnnxGraph,
  from: { readonly name: string; readonly spec: Spec },
  { window, shape, ...convolution }: Pick<Transposed, "weight" | "shape" | "groups" | "window">,
  to: Shape,
  outputs?: readonly string[],
): string {
  const behind = to.map((large, axis) => {
    const small = from.spec.shape[axis + 2]!;
    const stride = window.stride[axis]!;
    if (typeof small === "string" || typeof large === "string") return stride === 1 ? 0 : undefined;
    const reach = window.dilation[axis]! * (shape[axis + 2]! - 1) + 1;
    return large - ((small - 1) * stride + reach - window.before[axis]! - window.after[axis]!);
  });
  const outputPadding = behind.map((size, axis) => size ?? window.stride[axis]! - 1);
  const transposed = { ...convolution, x: from.name, shape, window, outputPadding };
  const unknown = behind.flatMap((size, axis) => (size === undefined ? [axis] : []));
  if (unknown.length === 0) return emitConvTranspose(graph, transposed, outputs);
  const whole = emitConvTranspose(graph, transposed);
  const sizes = unknown.map((axis): Dimension => to[axis]!);
  const axes = graph.ints(unknown.map((axis) => axis + 2));
  const cut = [whole, graph.ints(unknown.map(() => 0)), graph.shape(sizes, [from]), axes];
  return graph.node("Slice", cut, {}, outputs);
}
