import { tensor } from "../../tensor.ts";
import type { Shape } from "../dimensions.ts";
import type { OnnxGraph } from "../onnx-graph.ts";
import type { Emission } from "../operator.ts";
import type { ConvAttributes } from "./convShape.ts";
import { emitReduction } from "./reduce.ts";
import { kernelPositions, type Window } from "./window.ts";

type WeightGradient = Emission<ConvAttributes & { readonly shape: Shape }>;

/**
 * The weight's gradient of a convolution of stride 1, where element (i, j) of the kernel multiplies the gradient with x
 * moved by (i, j). Copying x for each takes longer than multiplying. So x is moved along the last axis only and the
 * gradient, the other way, along the others: 3 + 3 copies for a 3 × 3 kernel instead of 9, and the unmoved ones are free.
 */
export function emitShiftedWeightGradient(application: WeightGradient, window: Window): void {
  const { graph, attributes, inputs, outputs, inputSpecs } = application;
  const [x, gradient] = inputs as [string, string];
  const { groups } = attributes;
  const [out, perGroup, ...kernel] = attributes.shape as [number, number, ...number[]];
  const last = kernel.length - 1;
  const elements = kernelPositions(kernel);
  const matrix = (value: string, rows: number) =>
    graph.node("Reshape", [value, graph.ints(groups === 1 ? [0, rows, -1] : [0, groups, rows / groups, -1])]);
  const perm = groups === 1 ? [0, 2, 1] : [0, 1, 3, 2];
  const product = (left: string, right: string) =>
    emitReduction(
      graph,
      "ReduceSum",
      graph.node("MatMul", [left, graph.node("Transpose", [right], { perm })]),
      [0],
      false,
    );

  if (groups === 1 && perGroup * elements.length <= 2 * out && elements.length > 1) {
    // Few channels: all copies of x, side by side.
    const copies = elements.map((element) =>
      moved(
        graph,
        x,
        element.map((at, axis) => moveX(window, kernel, axis, at)),
      ),
    );
    const side = matrix(graph.node("Concat", copies, { axis: 1 }), perGroup * elements.length);
    const all = graph.node("Reshape", [
      product(matrix(gradient, out), side),
      graph.ints([out, elements.length, perGroup]),
    ]);
    const turned = graph.node("Transpose", [all], { perm: [0, 2, 1] });
    graph.node("Reshape", [turned, graph.ints([out, perGroup, ...kernel])], {}, outputs);
    return;
  }
  const lines = kernelPositions(kernel.slice(0, last));
  const columns = Array.from({ length: kernel[last]! }, (_, at) => {
    const by = kernel.map((_, axis) => (axis === last ? moveX(window, kernel, axis, at) : none));
    return matrix(moved(graph, x, by), perGroup * groups);
  });
  const height = inputSpecs[0]!.shape[2]!;
  if (groups === 1 && kernel.length === 2 && lines.length > 1 && out <= 32 && typeof height === "number") {
    // Few rows: the gradient's copies, below one another, make one better product.
    const stacked = matrix(
      stackedRows(graph, gradient, height, kernel[0]!, window, inputSpecs[1]!.shape[2] as number),
      out * lines.length,
    );
    const parts = columns.map((column) =>
      graph.node("Reshape", [product(stacked, column), graph.ints([out, lines.length, perGroup, 1])]),
    );
    const joined = parts.length === 1 ? parts[0]! : graph.node("Concat", parts, { axis: 3 });
    graph.node("Transpose", [joined], { perm: [0, 2, 1, 3] }, outputs);
    return;
  }
  const rows = lines.map((line) => {
    const by = kernel.map((_, axis) => (axis === last ? none : moveGradient(window, kernel, axis, line[axis]!)));
    return matrix(moved(graph, gradient, by), out);
  });
  const parts = rows.flatMap((row) =>
    columns.map((column) => graph.node("Reshape", [product(row, column), graph.ints([out, perGroup, 1])])),
  );
  const joined = parts.length === 1 ? parts[0]! : graph.node("Concat", parts, { axis: 2 });
  graph.node("Reshape", [joined, graph.ints([out, perGroup, ...kernel])], {}, outputs);
}

/** Zeros added before and after on an axis; negative: elements cut off. */
type Move = readonly [before: number, after: number];
const none: Move = [0, 0];

/** x as element `at` of the kernel sees it: as many places as the gradient has. */
function moveX({ before, after, dilation }: Window, kernel: readonly number[], axis: number, at: number): Move {
  const by = at * dilation[axis]! - before[axis]!;
  const fewer = dilation[axis]! * (kernel[axis]! - 1) - before[axis]! - after[axis]!;
  return [-by, by - fewer];
}

/** The gradient as it meets x's places when element `at` of the kernel multiplies them. */
function moveGradient(window: Window, kernel: readonly number[], axis: number, at: number): Move {
  const [before, after] = moveX(window, kernel, axis, at);
  return [-before, -after];
}

function moved(graph: OnnxGraph, value: string, moves: readonly Move[]): string {
  if (moves.flat().every((amount) => amount === 0)) return value;
  const pads = [0, 0, ...moves.map(([before]) => before), 0, 0, ...moves.map(([, after]) => after)];
  return graph.node("Pad", [value, graph.ints(pads), graph.constant(tensor("float32", [], [0]))]);
}

/** [n, out, h', w'] → [n, out, kernel h, h, w']: the gradient moved for each row of the kernel, in one pass. */
function stackedRows(
  graph: OnnxGraph,
  gradient: string,
  height: number,
  size: number,
  { before, dilation }: Window,
  available: number,
): string {
  const zeroBelow = moved(graph, gradient, [[0, 1], none]);
  const places = Array.from({ length: size }, (_, at) =>
    Array.from({ length: height }, (_, row) => {
      const from = row - at * dilation[0]! + before[0]!;
      return from < 0 || from >= available ? available : from;
    }),
  );
  const indices = graph.constant(tensor("int64", [size, height], places.flat()));
  return graph.node("Gather", [zeroBelow, indices], { axis: 2 });
}
