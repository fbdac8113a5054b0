import type { Shape } from "../dimensions.ts";
import type { Emission } from "../operator.ts";
import type { ConvAttributes } from "./conv-shape.ts";
import { emitShiftedWeightGradient } from "./emit-shifted-weight-gradient.ts";
import { padSpatial, shift } from "./emit-window.ts";
import { emitReduction } from "./reduce.ts";
import { kernelPositions, makeWindow } from "./window.ts";

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
  const padded = padSpatial(graph, inputs[0]!, window, 0);
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
