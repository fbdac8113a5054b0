import { z } from "zod";
import { type Tensor, tensor } from "../../tensor.ts";
import { type Shape, sameShape } from "../dimensions.ts";
import type { OnnxGraph } from "../onnx-graph.ts";
import {
  type Differentiation,
  type Emission,
  floats,
  normaliseAxis,
  type Operator,
  refuse,
  requireDType,
  requireSameDType,
} from "../operator.ts";
import { printSpec, type Spec } from "../spec.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";

interface AlongAxis {
  readonly axis: number;
}

/** Zeros of a spec whose symbols the program's inputs or earlier values have. */
export function zerosLike(ops: Differentiation["ops"], { dtype, shape }: Spec): Value {
  return ops.expand(tensor(dtype, [], [0]), shape);
}

/** Refuses indices that are not whole numbers of x's shape, the axis aside. */
function requireIndices(x: Spec, indices: Spec, attributes: AlongAxis): number {
  requireDType(["int32", "int64"], indices);
  const axis = normaliseAxis(attributes.axis, x.shape.length);
  const fits =
    indices.shape.length === x.shape.length && indices.shape.every((size, at) => at === axis || size === x.shape[at]);
  if (!fits) refuse(`indices must have the shape of x except on axis ${axis}`);
  return axis;
}

const TakeAlongAxis: Operator<AlongAxis> = {
  name: "takeAlongAxis",
  onnx: "GatherElements",
  infer([x, indices], attributes) {
    requireIndices(x!, indices!, attributes);
    return [{ dtype: x!.dtype, shape: indices!.shape }];
  },
  gradient: ({ ops, attributes, operands: [x, indices], gradients: [d] }) => [
    ops.scatterAdd(zerosLike(ops, x!), indices!, d!, attributes),
    null,
  ],
  emit: ({ graph, attributes: { axis }, inputs, outputs }) =>
    void graph.node("GatherElements", inputs, { axis }, outputs),
};

function inferScatter([x, indices, updates]: readonly Spec[], attributes: AlongAxis): readonly Spec[] {
  requireIndices(x!, indices!, attributes);
  requireSameDType(x!, updates!);
  if (!sameShape(updates!.shape, indices!.shape)) refuse("updates must have the indices' shape");
  return [x!];
}

const Scatter: Operator<AlongAxis> = {
  name: "scatter",
  onnx: "ScatterElements",
  infer: inferScatter,
  gradient: ({ ops, attributes, operands: [, indices, updates], gradients: [d], needed }) => [
    needed[0] ? ops.scatter(d!, indices!, zerosLike(ops, updates!), attributes) : null,
    null,
    needed[2] ? ops.takeAlongAxis(d!, indices!, attributes) : null,
  ],
  emit: ({ graph, attributes: { axis }, inputs, outputs }) =>
    void graph.node("ScatterElements", inputs, { axis }, outputs),
};

const ScatterAdd: Operator<AlongAxis> = {
  name: "scatterAdd",
  onnx: "ScatterElements",
  infer(operands, attributes) {
    requireDType(floats, operands[0]!);
    return inferScatter(operands, attributes);
  },
  gradient: ({ ops, attributes, operands: [, indices], gradients: [d], needed }) => [
    d!,
    null,
    needed[2] ? ops.takeAlongAxis(d!, indices!, attributes) : null,
  ],
  emit(application) {
    const { graph, attributes, inputs, outputs, inputSpecs } = application;
    if (graph.opset >= 16) {
      graph.node("ScatterElements", inputs, { axis: attributes.axis, reduction: "add" }, outputs);
      return;
    }
    // Before opset 16 nothing adds up what meets: a product with the indices' one-hot rows does.
    const [x, indices, updates] = inputs;
    const rank = inputSpecs[0]!.shape.length;
    const swap = swapWithLast(graph, attributes.axis, rank);
    const hot = oneHot(application, swap(indices!), attributes.axis);
    const rows = unsqueeze(graph, swap(updates!), rank - 1);
    const sums = graph.node("MatMul", [rows, hot]);
    graph.node("Add", [x!, swap(squeeze(graph, sums, rank - 1))], {}, outputs);
  },
};

const IndexAdd: Operator<AlongAxis> = {
  name: "indexAdd",
  onnx: "ScatterElements",
  infer([x, indices, updates], attributes) {
    requireDType(floats, x!);
    requireSameDType(x!, updates!);
    requireDType(["int32", "int64"], indices!);
    const axis = normaliseAxis(attributes.axis, x!.shape.length);
    if (indices!.shape.length !== 1) refuse("indices must have one dimension");
    const wanted = x!.shape.map((size, at) => (at === axis ? indices!.shape[0]! : size));
    if (!sameShape(updates!.shape, wanted)) {
      refuse(
        `updates must be ${printSpec({ dtype: x!.dtype, shape: wanted })}: x's shape with one entry for each index`,
      );
    }
    return [x!];
  },
  gradient: ({ ops, attributes, operands: [, indices], gradients: [d], needed }) => [
    d!,
    null,
    needed[2] ? ops.gather(d!, indices!, attributes) : null,
  ],
  emit(application) {
    const { graph, attributes, inputs, outputs, inputSpecs } = application;
    const [x, indices, updates] = inputs;
    const rank = inputSpecs[0]!.shape.length;
    const axis = normaliseAxis(attributes.axis, rank);
    if (graph.opset >= 16) {
      // Not ScatterND: ONNX Runtime's CPU kernel adds from several threads at once and loses additions.
      const shape = Array.from({ length: rank }, (_, at) => (at === axis ? -1 : 1));
      const column = rank === 1 ? indices! : graph.node("Reshape", [indices!, graph.ints(shape)]);
      const all = rank === 1 ? column : graph.node("Expand", [column, graph.node("Shape", [updates!])]);
      graph.node("ScatterElements", [x!, all, updates!], { axis, reduction: "add" }, outputs);
      return;
    }
    const swap = swapWithLast(graph, axis, rank);
    const hot = oneHot(application, indices!, axis);
    graph.node("Add", [x!, swap(graph.node("MatMul", [swap(updates!), hot]))], {}, outputs);
  },
};

/** Exchanges an axis with the last one; its own inverse. */
function swapWithLast(graph: OnnxGraph, axis: number, rank: number): (name: string) => string {
  const at = axis < 0 ? axis + rank : axis;
  const perm = Array.from({ length: rank }, (_, place) => place);
  perm[at] = rank - 1;
  perm[rank - 1] = at;
  return (name) => (at === rank - 1 ? name : graph.node("Transpose", [name], { perm }));
}

/** One-hot rows, of x's dtype, of indices along an axis of x. */
function oneHot({ graph, inputs, inputSpecs }: Emission<AlongAxis>, indices: string, axis: number): string {
  const [x] = inputSpecs;
  const size = x!.shape.at(axis)!;
  const whole = inputSpecs[1]!.dtype === "int64" ? indices : graph.node("Cast", [indices], { to: int64 });
  const depth = graph.shape([size], [{ name: inputs[0]!, spec: x! }]);
  const hot = graph.node("OneHot", [whole, depth, graph.constant(tensor("float32", [2], [0, 1]))], { axis: -1 });
  return x!.dtype === "float32" ? hot : graph.node("Cast", [hot], { to: float64 });
}

const int64 = 7;
const float64 = 11;

function unsqueeze(graph: OnnxGraph, x: string, axis: number): string {
  return graph.opset >= 13
    ? graph.node("Unsqueeze", [x, graph.ints([axis])])
    : graph.node("Unsqueeze", [x], { axes: [axis] });
}

function squeeze(graph: OnnxGraph, x: string, axis: number): string {
  return graph.opset >= 13
    ? graph.node("Squeeze", [x, graph.ints([axis])])
    : graph.node("Squeeze", [x], { axes: [axis] });
}

const Iota: Operator<AlongAxis> = {
  name: "iota",
  onnx: "Range",
  infer: ([x], { axis }) => [{ dtype: "int64", shape: [x!.shape[normaliseAxis(axis, x!.shape.length)]!] }],
  gradient: "zero",
  emit({ graph, attributes: { axis }, inputs: [x], outputs, inputSpecs: [spec] }) {
    const size = squeeze(graph, graph.shape([spec!.shape.at(axis)!] as Shape, [{ name: x!, spec: spec! }]), 0);
    const scalar = (value: number) => graph.constant(tensor("int64", [], [value]));
    graph.node("Range", [scalar(0), size, scalar(1)], {}, outputs);
  },
};

export const operators = [TakeAlongAxis, Scatter, ScatterAdd, IndexAdd, Iota] as readonly Operator[];

const lastAxis = z.strictObject({ axis: z.int().default(-1) });
const firstAxis = z.strictObject({ axis: z.int().default(0) });

/** Options of the functions that work along one axis. */
export interface AxisOptions {
  /** The axis; negative ones count from the end. */
  readonly axis?: number;
}

/**
 * For each index the element of x at that place of an axis (default the last) and at the index's own place on the others:
 * `y[i, j] = x[i, indices[i, j]]`. x [n, k], indices (int32 or int64) [n, m] → [n, m]. Negative indices count from the
 * end. NumPy's `take_along_axis`, PyTorch's `gather`. ONNX GatherElements.
 */
export function takeAlongAxis(x: Operand, indices: Value | Tensor, options?: AxisOptions): Value {
  return applyOne(TakeAlongAxis, [x, indices], operatorOptions("takeAlongAxis", lastAxis, options));
}

/**
 * x with elements replaced: `y[i, indices[i, j]] = updates[i, j]` (axis default the last). No two updates may meet: which
 * of them would stay is not defined. PyTorch's `scatter`. ONNX ScatterElements.
 */
export function scatter(x: Operand, indices: Value | Tensor, updates: Operand, options?: AxisOptions): Value {
  return applyOne(Scatter, [x, indices, updates], operatorOptions("scatter", lastAxis, options));
}

/**
 * x with elements added to: `y[i, indices[i, j]] += updates[i, j]` (axis default the last); what meets adds up (on
 * the CPU in the same order each time); float32 or float64. PyTorch's `scatter_add`. ONNX ScatterElements (a product
 * with one-hot rows before opset 16).
 */
export function scatterAdd(x: Operand, indices: Value | Tensor, updates: Operand, options?: AxisOptions): Value {
  return applyOne(ScatterAdd, [x, indices, updates], operatorOptions("scatterAdd", lastAxis, options));
}

/**
 * x with whole entries of an axis (default 0) added to: `y[indices[j], :] += updates[j, :]`; what meets adds up
 * (on the CPU in the same order each time). x [v, d], indices (int32 or int64) [m], updates [m, d]; float32 or float64.
 * PyTorch's `index_add`. ONNX ScatterElements (a product with one-hot rows before opset 16).
 */
export function indexAdd(x: Operand, indices: Value | Tensor, updates: Operand, options?: AxisOptions): Value {
  return applyOne(IndexAdd, [x, indices, updates], operatorOptions("indexAdd", firstAxis, options));
}

/** The indices 0, 1, … of an axis of x (default 0), int64 [size of the axis]. ONNX Range. */
export function iota(x: Operand, options?: AxisOptions): Value {
  return applyOne(Iota, [x], operatorOptions("iota", firstAxis, options));
}
