import type { Tensor } from "../../tensor.ts";
import { type Dimension, multiplyDimensions, printShape, type Shape, sameShape } from "../dimensions.ts";
import { type Differentiation, type Operator, refuse, requireDType, requireSameDType } from "../operator.ts";
import type { Spec } from "../spec.ts";
import { applyOne, type Operand, type Value } from "../value.ts";
import { zerosLike } from "./scatter.ts";

/** Number of axes that the rows of indices point into. */
function indexedAxes(x: Spec, indices: Spec): number {
  requireDType(["int32", "int64"], indices);
  const m = indices.shape.at(-1);
  if (typeof m !== "number" || m < 1 || m > x.shape.length) {
    refuse(`indices must be [..., m] with m from 1 to ${x.shape.length}, the axes of x`);
  }
  return m;
}

/** The shape of what the indices point at: one entry of the axes that are not indexed for each row of indices. */
function entriesShape(x: Spec, indices: Spec): Shape {
  return [...indices.shape.slice(0, -1), ...x.shape.slice(indexedAxes(x, indices))];
}

const GatherNd: Operator = {
  name: "gatherNd",
  onnx: "GatherND",
  infer: ([x, indices]) => [{ dtype: x!.dtype, shape: entriesShape(x!, indices!) }],
  gradient({ ops, operands: [x, indices], gradients: [d] }) {
    const m = indexedAxes(x!, indices!);
    const { rows, count } = flatRows(ops, x!, indices!, m);
    const rest = x!.shape.slice(m);
    const flat: Shape = [multiplyDimensions(x!.shape.slice(0, m)), ...rest];
    const updates = ops.reshape(d!, [count, ...rest]);
    const sums = ops.indexAdd(zerosLike(ops, { dtype: x!.dtype, shape: flat }), rows, updates, { axis: 0 });
    return [ops.reshape(sums, x!.shape), null];
  },
  emit({ graph, inputs: [x, indices], outputs, inputSpecs }) {
    graph.node("GatherND", [x!, asInt64(graph, indices!, inputSpecs[1]!)], {}, outputs);
  },
};

const ScatterNd: Operator = {
  name: "scatterNd",
  onnx: "ScatterND",
  infer([x, indices, updates]) {
    requireSameDType(x!, updates!);
    const shape = entriesShape(x!, indices!);
    if (!sameShape(updates!.shape, shape))
      refuse(`updates must be ${printShape(shape)}, an entry for each row of indices`);
    return [x!];
  },
  gradient: ({ ops, operands: [, indices, updates], gradients: [d], needed }) => [
    needed[0] ? ops.scatterNd(d!, indices!, zerosLike(ops, updates!)) : null,
    null,
    needed[2] ? ops.gatherNd(d!, indices!) : null,
  ],
  emit({ graph, inputs: [x, indices, updates], outputs, inputSpecs }) {
    graph.node("ScatterND", [x!, asInt64(graph, indices!, inputSpecs[1]!), updates!], {}, outputs);
  },
};

export const operators = [GatherNd, ScatterNd] as readonly Operator[];

const int64 = 7;

/** The standard has these operators for int64 indices only. */
function asInt64(graph: Parameters<Operator["emit"]>[0]["graph"], indices: string, { dtype }: Spec): string {
  return dtype === "int64" ? indices : graph.node("Cast", [indices], { to: int64 });
}

/** For each row of indices its number among the entries of the first m axes taken together, flat. */
function flatRows(
  ops: Differentiation["ops"],
  x: Spec,
  indices: Value,
  m: number,
): { readonly rows: Value; readonly count: Dimension } {
  const inner = x.shape.slice(1, m);
  if (inner.some((size) => typeof size === "string")) {
    refuse("the gradient of gatherNd needs known sizes of the indexed axes but the first", printShape(x.shape));
  }
  const count = multiplyDimensions(indices.shape.slice(0, -1));
  const flat = ops.reshape(indices, [count, m]);
  const places = Array.from({ length: m }, (_, axis) => {
    const place = ops.squeeze(ops.slice(flat, { axis: 1, from: axis, to: axis + 1 }), 1);
    if (axis === 0) return place;
    // Negative ones count from the end; of the first axis the flat one does the same.
    const size = inner[axis - 1] as number;
    return ops.where(ops.less(place, 0), ops.add(place, size), place);
  });
  const rows = places
    .slice(1)
    .reduce((row, place, axis) => ops.add(ops.mul(row, inner[axis] as number), place), places[0]!);
  return { rows, count };
}

/**
 * For each row of indices the entry of x it points at, along the first m axes at once: `y[i] = x[indices[i, 0], …,
 * indices[i, m − 1]]`. x [s₁, …, sᵣ], indices (int32 or int64) [..., m] → [..., sₘ₊₁, …, sᵣ]. Negative indices count from
 * the end. ONNX GatherND (no batch dimensions).
 */
export function gatherNd(x: Operand, indices: Value | Tensor): Value {
  return applyOne(GatherNd, [x, indices], {});
}

/**
 * x with whole entries replaced, of the first m axes at once: `y[indices[i, 0], …, indices[i, m − 1]] = updates[i]`. No two
 * rows of indices may point at the same entry: which would stay is not defined. x [s₁, …, sᵣ], indices (int32 or int64)
 * [..., m], updates [..., sₘ₊₁, …, sᵣ]. ONNX ScatterND without reduction.
 */
export function scatterNd(x: Operand, indices: Value | Tensor, updates: Operand): Value {
  return applyOne(ScatterNd, [x, indices, updates], {});
}
