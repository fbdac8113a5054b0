import type { Shape } from "../dimensions.ts";
import type { OnnxGraph } from "../onnx-graph.ts";
import type { Emission } from "../operator.ts";
import type { ConvAttributes } from "./conv-shape.ts";
import { type Move, move, moveColumns, none } from "./emit-move.ts";
import { emitReduction } from "./reduce.ts";
import { kernelPositions, type Window } from "./window.ts";

/**
 * The weight's gradient of a convolution of stride 1, where element (i, j) of the kernel multiplies the gradient with x
 * moved by (i, j). Copying x for each takes longer than multiplying. So x is moved along the last axis only and the
 * gradient, the other way, along the other: 3 + 3 copies for a 3 × 3 kernel instead of 9, and those not moved are free.
 */
export function emitShiftedWeightGradient(
  application: Emission<ConvAttributes & { readonly shape: Shape }>,
  window: Window,
): void {
  const { graph, attributes, inputs, outputs, inputSpecs } = application;
  const [x, gradient] = inputs as [string, string];
  const { groups, shape } = attributes;
  const [out, perGroup, ...kernel] = shape as [number, number, ...number[]];
  const [from, to] = [inputSpecs[0]!.shape.slice(2), inputSpecs[1]!.shape.slice(2)];
  const elements = kernelPositions(kernel);
  const last = kernel.length - 1;
  const rows = (value: string, count: number) =>
    graph.node("Reshape", [value, graph.ints(groups === 1 ? [0, count, -1] : [0, groups, count / groups, -1])]);

  if (groups === 1 && elements.length > 1 && perGroup * elements.length <= 2 * out) {
    // Few channels: x moved by every element, side by side, in one product.
    const copies = elements.map((element) =>
      move(
        graph,
        x,
        element.map((at, axis) => moveOfX(window, kernel, axis, at)),
      ),
    );
    const columns = rows(graph.node("Concat", copies, { axis: 1 }), perGroup * elements.length);
    const product = productOverSamples(graph, rows(gradient, out), turn(graph, columns, groups));
    const split = graph.node("Reshape", [product, graph.ints([out, elements.length, perGroup])]);
    const turned = graph.node("Transpose", [split], { perm: [0, 2, 1] });
    graph.node("Reshape", [turned, graph.ints(shape as readonly number[])], {}, outputs);
    return;
  }
  const columns = Array.from({ length: kernel[last]! }, (_, at) => {
    const by = moveOfX(window, kernel, last, at);
    return turn(graph, rows(moveColumns(graph, x, perGroup * groups, from, by), perGroup * groups), groups);
  });
  const products = kernelPositions(kernel.slice(0, last)).flatMap(([line]) => {
    const [before, after] = line === undefined ? none : moveOfX(window, kernel, 0, line);
    const moved = moveRows(graph, gradient, (value) => rows(value, out), to, [-before, -after], groups === 1 ? 3 : 4);
    return columns.map((column) => productOverSamples(graph, moved, column));
  });
  const joined = products.length === 1 ? products[0]! : graph.node("Concat", products, { axis: 0 });
  const split = graph.node("Reshape", [joined, graph.ints([elements.length, out, perGroup])]);
  const turned = graph.node("Transpose", [split], { perm: [1, 2, 0] });
  graph.node("Reshape", [turned, graph.ints(shape as readonly number[])], {}, outputs);
}

/** Matrices transposed. ONNX Runtime joins this and the product that follows. */
function turn(graph: OnnxGraph, matrices: string, groups: number): string {
  return graph.node("Transpose", [matrices], { perm: groups === 1 ? [0, 2, 1] : [0, 1, 3, 2] });
}

/** Σ left · right over the samples. */
function productOverSamples(graph: OnnxGraph, left: string, right: string): string {
  return emitReduction(graph, "ReduceSum", graph.node("MatMul", [left, right]), [0], false);
}

/** x as element `at` of the kernel sees it: as many places as the gradient has. */
function moveOfX({ before, after, dilation }: Window, kernel: readonly number[], axis: number, at: number): Move {
  const by = at * dilation[axis]! - before[axis]!;
  const fewer = dilation[axis]! * (kernel[axis]! - 1) - before[axis]! - after[axis]!;
  return [-by, by - fewer];
}

/** The gradient moved along the first of two axes, as rows: whole lines, so one run of memory for each channel. */
function moveRows(
  graph: OnnxGraph,
  gradient: string,
  rows: (value: string) => string,
  sizes: Shape,
  [before, after]: Move,
  rank: number,
): string {
  const width = sizes[1];
  if (before === 0 && after === 0) return rows(gradient);
  if (typeof width !== "number") return rows(move(graph, gradient, [[before, after], none]));
  const leading = Array<Move>(rank - 3).fill(none);
  return move(graph, rows(gradient), [...leading, [before * width, after * width]]);
}
