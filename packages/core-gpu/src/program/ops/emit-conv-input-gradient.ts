import type { Shape } from "../dimensions.ts";
import type { OnnxGraph } from "../onnx-graph.ts";
import type { Emission } from "../operator.ts";
import type { ConvAttributes } from "./conv-shape.ts";
import { emitConv, isConstant } from "./emit-conv.ts";
import { emitLaidDown } from "./emit-conv-transpose.ts";
import { knownSizes, makeWindow, type Window } from "./window.ts";

/** Writes the gradient of a convolution with respect to its input. */
export function emitConvInputGradient(application: Emission<ConvAttributes & { readonly shape: Shape }>): void {
  const { attributes, inputSpecs } = application;
  const kernel = knownSizes("weight", inputSpecs[1]!.shape.slice(2));
  const window = makeWindow(kernel.length, attributes);
  if (window.stride.every((stride) => stride === 1) && covers(window, kernel))
    emitMirrored(application, window, kernel);
  else emitTransposed(application, window);
}

/** Whether the padding is nowhere larger than what the window reaches: else elements of the input are never seen. */
function covers({ before, after, dilation }: Window, kernel: readonly number[]): boolean {
  return kernel.every((size, axis) => Math.max(before[axis]!, after[axis]!) <= dilation[axis]! * (size - 1));
}

/** With stride 1 it is the convolution of the gradient with the weight mirrored and its channels exchanged. */
function emitMirrored(
  { graph, attributes: { groups }, inputs: [gradient, weight], outputs, inputSpecs }: Emission<ConvAttributes>,
  window: Window,
  kernel: readonly number[],
): void {
  const reach = kernel.map((size, axis) => window.dilation[axis]! * (size - 1));
  const mirrored: Window = {
    ...window,
    before: reach.map((size, axis) => size - window.before[axis]!),
    after: reach.map((size, axis) => size - window.after[axis]!),
  };
  const [out, perGroup] = inputSpecs[1]!.shape as readonly [number, number];
  const exchanged = mirror(graph, weight!, inputSpecs[1]!.shape as readonly number[], groups);
  const shape = [groups * perGroup, out / groups, ...kernel];
  const constant = isConstant(graph, weight!);
  emitConv(graph, { x: gradient!, weight: exchanged, shape, groups, window: mirrored, constant }, outputs);
}

/** [out, c ÷ groups, ...kernel] → [c, out ÷ groups, ...kernel], the kernel's axes reversed. */
function mirror(graph: OnnxGraph, weight: string, shape: readonly number[], groups: number): string {
  const [out, perGroup, ...kernel] = shape as [number, number, ...number[]];
  const axes = kernel.flatMap((size, axis) => (size === 1 ? [] : [axis + 2]));
  const reversed =
    axes.length === 0
      ? weight
      : graph.node("Slice", [
          weight,
          graph.ints(axes.map(() => -1)),
          graph.ints(axes.map(() => -1_000_000)),
          graph.ints(axes),
          graph.ints(axes.map(() => -1)),
        ]);
  const spatial = kernel.map((_, axis) => axis);
  if (groups === 1) return graph.node("Transpose", [reversed], { perm: [1, 0, ...spatial.map((axis) => axis + 2)] });
  const split = graph.node("Reshape", [reversed, graph.ints([groups, out / groups, perGroup, ...kernel])]);
  const swapped = graph.node("Transpose", [split], { perm: [0, 2, 1, ...spatial.map((axis) => axis + 3)] });
  return graph.node("Reshape", [swapped, graph.ints([groups * perGroup, out / groups, ...kernel])]);
}

/** With a larger stride it is a transposed convolution. */
function emitTransposed(
  {
    graph,
    attributes: { groups, shape: to },
    inputs,
    outputs,
    inputSpecs,
  }: Emission<ConvAttributes & { shape: Shape }>,
  window: Window,
): void {
  const gradient = { name: inputs[0]!, spec: inputSpecs[0]! };
  const shape = knownSizes("weight", inputSpecs[1]!.shape);
  emitLaidDown(graph, gradient, { weight: inputs[1]!, shape, groups, window }, to.slice(2), outputs);
}
