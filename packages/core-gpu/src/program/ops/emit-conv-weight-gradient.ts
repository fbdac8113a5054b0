import { tensor } from "../../tensor.ts";
import type { Shape } from "../dimensions.ts";
import type { OnnxGraph } from "../onnx-graph.ts";
import type { Emission } from "../operator.ts";
import type { Spec } from "../spec.ts";
import type { ConvAttributes } from "./conv-shape.ts";
import { emitShiftedWeightGradient } from "./emit-shifted-weight-gradient.ts";
import { emitReduction } from "./reduce.ts";
import { kernelPositions, makeWindow, type Window } from "./window.ts";

/** Writes the gradient of a convolution with respect to its weight: for each element of the kernel one product of matrices. */
export function emitConvWeightGradient(application: Emission<ConvAttributes & { readonly shape: Shape }>): void {
  const { graph, attributes, inputs, outputs, inputSpecs } = application;
  const [out, perGroup, ...kernel] = attributes.shape as [number, number, ...number[]];
  const { groups } = attributes;
  const window = makeWindow(kernel.length, attributes);
  const depthwise = perGroup === 1;
  if (!depthwise && window.stride.every((stride) => stride === 1)) {
    emitShiftedWeightGradient(application, window);
    return;
  }
  const padded = padSpatial(graph, inputs[0]!, window);
  const gradient = { name: inputs[1]!, spec: inputSpecs[1]! };
  const rows = graph.node("Reshape", [gradient.name, graph.ints([0, groups, out / groups, -1])]);
  const taps = kernelPositions(kernel).map((offset) => {
    const shifted = shift(graph, padded, offset, window, gradient);
    const columns = graph.node("Reshape", [shifted, graph.ints([0, groups, perGroup, -1])]);
    // [n, groups, out ÷ groups, c ÷ groups] summed over n; for one channel a group, products of elements do.
    if (depthwise) return emitReduction(graph, "ReduceSum", graph.node("Mul", [rows, columns]), [0, 3], false);
    const turned = graph.node("Transpose", [columns], { perm: [0, 1, 3, 2] });
    return emitReduction(graph, "ReduceSum", graph.node("MatMul", [rows, turned]), [0], false);
  });
  const flat = taps.map((tap) => graph.node("Reshape", [tap, graph.ints([out, perGroup, 1])]));
  const joined = flat.length === 1 ? flat[0]! : graph.node("Concat", flat, { axis: 2 });
  graph.node("Reshape", [joined, graph.ints([out, perGroup, ...kernel])], {}, outputs);
}

function padSpatial(graph: OnnxGraph, x: string, { before, after }: Window): string {
  if ([...before, ...after].every((size) => size === 0)) return x;
  const zero = graph.constant(tensor("float32", [], [0]));
  return graph.node("Pad", [x, graph.ints([0, 0, ...before, 0, 0, ...after]), zero]);
}

/** What an element of the kernel sees of the padded input, in the gradient's spatial shape. */
function shift(
  graph: OnnxGraph,
  padded: string,
  offset: readonly number[],
  window: Window,
  gradient: { readonly name: string; readonly spec: Spec },
): string {
  const sizes = gradient.spec.shape.slice(2);
  const axes = graph.ints(sizes.map((_, axis) => axis + 2));
  const starts = offset.map((at, axis) => at * window.dilation[axis]!);
  const known = sizes.every((size) => typeof size === "number");
  const ends = sizes.map((size, axis) =>
    known ? starts[axis]! + (Number(size) - 1) * window.stride[axis]! + 1 : 2 ** 31 - 1,
  );
  const stepped = graph.node("Slice", [padded, graph.ints(starts), graph.ints(ends), axes, graph.ints(window.stride)]);
  if (known) return stepped;
  const wanted = graph.shape(sizes, [gradient]);
  return graph.node("Slice", [stepped, graph.ints(sizes.map(() => 0)), wanted, axes]);
}
