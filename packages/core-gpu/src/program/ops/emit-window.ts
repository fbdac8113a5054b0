import { tensor } from "../../tensor.ts";
import type { OnnxGraph } from "../onnx-graph.ts";
import type { Spec } from "../spec.ts";
import type { Window } from "./window.ts";

/** [n, c, ...] of float32 with a window's padding, filled with one value. */
export function padSpatial(graph: OnnxGraph, x: string, { before, after }: Window, value: number): string {
  if ([...before, ...after].every((size) => size === 0)) return x;
  const filling = graph.constant(tensor("float32", [], [value]));
  return graph.node("Pad", [x, graph.ints([0, 0, ...before, 0, 0, ...after]), filling]);
}

/** What one element of all windows sees of the padded input, in the spatial shape of `result`, one element a window. */
export function shift(
  graph: OnnxGraph,
  padded: string,
  offset: readonly number[],
  window: Window,
  result: { readonly name: string; readonly spec: Spec },
): string {
  const sizes = result.spec.shape.slice(2);
  const axes = graph.ints(sizes.map((_, axis) => axis + 2));
  const starts = offset.map((at, axis) => at * window.dilation[axis]!);
  const known = sizes.every((size) => typeof size === "number");
  const ends = sizes.map((size, axis) =>
    known ? starts[axis]! + (Number(size) - 1) * window.stride[axis]! + 1 : 2 ** 31 - 1,
  );
  const stepped = graph.node("Slice", [padded, graph.ints(starts), graph.ints(ends), axes, graph.ints(window.stride)]);
  if (known) return stepped;
  const wanted = graph.shape(sizes, [result]);
  return graph.node("Slice", [stepped, graph.ints(sizes.map(() => 0)), wanted, axes]);
}
