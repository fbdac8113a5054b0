import { z } from "zod";
import { checkArguments } from "../../arguments.ts";
import { InputError } from "../../errors.ts";
import { type Tensor, tensor } from "../../tensor.ts";
import { addDimensions, type Dimension, divideDimension, multiplyDimensions } from "../dimensions.ts";
import { floats, normaliseAxis, type Operator, refuse, requireDType } from "../operator.ts";
import { printSpec } from "../spec.ts";
import { apply, applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { zerosLike } from "./scatter.ts";
import { sliceGradient } from "./slice-gradient.ts";

/** A part of an axis, as `from:to:step` of NumPy. */
export interface Range {
  readonly axis: number;
  /** First index; negative ones count from the end. Default 0 (with a negative step: the last). */
  readonly from?: number | undefined;
  /** Index after the last; negative ones count from the end. Default: through to the end. */
  readonly to?: number | undefined;
  /** Distance of indices, not 0. Default 1. */
  readonly step?: number | undefined;
}

const Slice: Operator<{ readonly ranges: readonly Range[] }> = {
  name: "slice",
  onnx: "Slice",
  infer([x], { ranges }) {
    const { dtype, shape } = x!;
    const result = [...shape];
    const axes = ranges.map(({ axis }) => normaliseAxis(axis, shape.length));
    if (new Set(axes).size !== axes.length) refuse("each axis may be sliced once", `axes [${axes.join(", ")}]`);
    ranges.forEach((range, index) => {
      const axis = axes[index]!;
      result[axis] = sliceLength(shape[axis]!, range);
    });
    return [{ dtype, shape: result }];
  },
  gradient: ({ ops, attributes: { ranges }, operands: [x], gradients: [d] }) => [sliceGradient(ops, d!, x!, ranges)],
  emit({ graph, attributes: { ranges }, inputs: [x], outputs, inputSpecs }) {
    const { shape } = inputSpecs[0]!;
    const axes = ranges.map(({ axis }) => normaliseAxis(axis, shape.length));
    const slice = (from: string, parts: readonly Range[], to?: readonly string[]): string => {
      const steps = parts.map(({ step = 1 }) => step);
      const starts = parts.map(({ from }, index) => from ?? (steps[index]! > 0 ? 0 : end));
      const ends = parts.map(({ to }, index) => to ?? (steps[index]! > 0 ? end : -end));
      const lists = [starts, ends, parts.map(({ axis }) => axis), steps];
      return graph.node("Slice", [from, ...lists.map((list) => graph.ints(list))], {}, to);
    };
    const backwards = ranges.flatMap(({ step = 1 }, index) => (step < 0 ? [{ axis: axes[index]!, step: -1 }] : []));
    if (graph.provider !== "webgpu" || backwards.length === 0) {
      slice(x!, ranges, outputs);
      return;
    }
    // ONNX Runtime 1.30 on WebGPU begins at the axis' end whatever `from` is, and errs below −1: forwards first, then all back.
    const forwards = ranges.map((range, index) => forwardsOf(shape[axes[index]!]!, range));
    slice(slice(x!, forwards), backwards, outputs);
  },
};

/** ONNX clamps ends to the axis; this is safely beyond it for any axis and also fits runtimes with 32-bit indices. */
const end = 2 ** 31 - 1;

/** The same elements in ascending order, of a range that runs backwards; others as they are. */
function forwardsOf(size: Dimension, range: Range): Range {
  const { axis, from = -1, step = 1 } = range;
  if (step > 0 || typeof size === "string") return range;
  const length = sliceLength(size, range) as number;
  if (length === 0) return { axis, from: 0, to: 0 };
  const first = Math.min(from < 0 ? from + size : from, size - 1);
  return { axis, from: first + (length - 1) * step, to: first + 1, step: -step };
}

function sliceLength(size: Dimension, { from, to, step = 1 }: Range): Dimension {
  if (step === 0) refuse("step must not be 0", "0");
  if (typeof size === "string") return symbolicLength(size, from, to, step);
  const least = step > 0 ? 0 : -1;
  const most = step > 0 ? size : size - 1;
  const place = (index: number) => Math.min(Math.max(index < 0 ? index + size : index, least), most);
  const start = from === undefined ? (step > 0 ? 0 : most) : place(from);
  const stop = to === undefined ? (step > 0 ? size : -1) : place(to);
  return Math.max(0, Math.ceil((stop - start) / step));
}

/** On a symbolic axis the length is a formula; what it would take to know more than that is refused. */
function symbolicLength(size: string, from = 0, to: number | undefined, step: number): Dimension {
  if (step < 0 || (to !== undefined && to >= 0) || (from < 0 && to !== undefined)) {
    refuse(
      `on the symbolic dimension ${size} a range must run to the end, or to a negative index from one ≥ 0, forwards`,
      `from ${from}, to ${to ?? "the end"}, step ${step}`,
    );
  }
  const span = from < 0 ? -from : addDimensions(size, (to ?? 0) - from);
  return step === 1 ? span : addDimensions(divideDimension(addDimensions(span, -1), step), 1);
}

const Gather: Operator<{ readonly axis: number }> = {
  name: "gather",
  onnx: "Gather",
  infer([x, indices], attributes) {
    requireDType(["int32", "int64"], indices!);
    const { dtype, shape } = x!;
    const axis = normaliseAxis(attributes.axis, shape.length);
    return [{ dtype, shape: [...shape.slice(0, axis), ...indices!.shape, ...shape.slice(axis + 1)] }];
  },
  gradient({ ops, attributes, operands: [x, indices], gradients: [d] }) {
    const axis = normaliseAxis(attributes.axis, x!.shape.length);
    const { producer } = indices!;
    const size = x!.shape[axis]!;
    if (producer.kind === "constant" && indices!.shape.length === 0 && typeof size === "number") {
      const index = Number(producer.tensor.data[0]);
      const before = index < 0 ? index + size : index;
      const amounts = x!.shape.map((_, at): [number, number] => (at === axis ? [before, size - 1 - before] : [0, 0]));
      return [ops.pad(ops.unsqueeze(d!, axis), amounts), null];
    }
    const flat = indices!.shape.length === 1 ? indices! : ops.reshape(indices!, [-1]);
    const shape = [...x!.shape.slice(0, axis), multiplyDimensions(indices!.shape), ...x!.shape.slice(axis + 1)];
    const updates = indices!.shape.length === 1 ? d! : ops.reshape(d!, shape);
    return [ops.indexAdd(zerosLike(ops, x!), flat, updates, { axis }), null];
  },
  emit: ({ graph, attributes: { axis }, inputs, outputs }) => void graph.node("Gather", inputs, { axis }, outputs),
};

interface TopKAttributes {
  readonly k: number;
  readonly axis: number;
  readonly largest: boolean;
}

const TopK: Operator<TopKAttributes> = {
  name: "topK",
  onnx: "TopK",
  infer([x], attributes) {
    requireDType(floats, x!);
    const { dtype, shape } = x!;
    const axis = normaliseAxis(attributes.axis, shape.length);
    const size = shape[axis]!;
    if (typeof size === "number" && attributes.k > size)
      refuse(`k must be at most ${size}, the size of axis ${axis}`, String(attributes.k));
    const found = shape.map((dimension, at) => (at === axis ? attributes.k : dimension));
    return [
      { dtype, shape: found },
      { dtype: "int64", shape: found },
    ];
  },
  gradient: ({ ops, attributes: { axis }, operands: [x], results: [, indices], gradients: [d] }) => [
    ops.scatter(zerosLike(ops, x!), indices!, d!, { axis }),
  ],
  emit({ graph, attributes: { k, axis, largest }, inputs: [x], outputs }) {
    graph.node("TopK", [x!, graph.ints([k])], { axis, largest: largest ? 1 : 0, sorted: 1 }, outputs);
  },
};

const Compress: Operator<{ readonly axis: number; readonly kept: string }> = {
  name: "compress",
  onnx: "Compress",
  infer([x, condition], attributes) {
    const { dtype, shape } = x!;
    if (condition!.dtype !== "bool" || condition!.shape.length !== 1)
      refuse("the condition must be bool [size of the axis]");
    const axis = normaliseAxis(attributes.axis, shape.length);
    if (condition!.shape[0] !== shape[axis]) refuse(`the condition must have as many elements as axis ${axis}`);
    return [{ dtype, shape: shape.map((dimension, at) => (at === axis ? attributes.kept : dimension)) }];
  },
  gradient: ({ ops, attributes: { axis, kept }, operands: [x, condition], gradients: [d] }) => [
    ops.indexAdd(zerosLike(ops, x!), ops.compress(ops.iota(x!, { axis }), condition!, { kept }), d!, { axis }),
    null,
  ],
  emit: ({ graph, attributes: { axis }, inputs, outputs }) => void graph.node("Compress", inputs, { axis }, outputs),
};

export const operators = [Slice, Gather, TopK, Compress] as readonly Operator[];

const rangeSchema = z.strictObject({
  axis: z.int(),
  from: z.int().optional(),
  to: z.int().optional(),
  step: z.int().optional(),
});

/**
 * A part of x, by one range or several of different axes: `slice(x, [{ axis: 2, step: 2 }, { axis: 3, step: 2 }])` is
 * NumPy's `x[:, :, ::2, ::2]`. ONNX Slice.
 */
export function slice(x: Operand, ranges: Range | readonly Range[]): Value {
  const { ranges: checked } = operatorOptions("slice", z.strictObject({ ranges: z.array(rangeSchema).min(1) }), {
    ranges: [ranges].flat(),
  });
  return applyOne(Slice, [x], { ranges: checked });
}

const gatherOptions = z.strictObject({ axis: z.int().default(0) });

/**
 * The entries of x at `indices` (int32 or int64, any shape, or one number) along an axis (default 0); the indices' shape
 * replaces that axis. Negative indices count from the end. ONNX Gather.
 */
export function gather(x: Operand, indices: Value | Tensor | number, options?: { readonly axis?: number }): Value {
  const list = typeof indices === "number" ? tensor("int64", [], [indices]) : indices;
  return applyOne(Gather, [x, list], operatorOptions("gather", gatherOptions, options));
}

const topKOptions = z.strictObject({ axis: z.int().default(-1), largest: z.boolean().default(true) });

/**
 * The k largest (or smallest) elements along an axis (default the last), in order, the first of equals first; float32 or
 * float64. ONNX TopK.
 *
 * @param k Whole number ≥ 1.
 * @returns The elements, and their indices (int64); k replaces the size of the axis.
 */
export function topK(
  x: Operand,
  k: number,
  options?: { readonly axis?: number; readonly largest?: boolean },
): { readonly values: Value; readonly indices: Value } {
  const checked = operatorOptions("topK", topKOptions.extend({ k: z.int().min(1) }), { ...options, k });
  const [values, indices] = apply(TopK, [x], checked) as [Value, Value];
  return { values, indices };
}

const sortOptions = z.strictObject({ axis: z.int().default(-1), descending: z.boolean().default(false) });

/**
 * The elements along an axis (default the last) in ascending or descending order, equals in any order; the axis must not
 * be symbolic; float32 or float64. ONNX TopK.
 *
 * @returns The elements, and their indices before (int64), both of x's shape.
 */
export function sort(
  x: Value | Tensor,
  options?: { readonly axis?: number; readonly descending?: boolean },
): { readonly values: Value; readonly indices: Value } {
  checkArguments("core-gpu.ops.sort", { x: [x, "a traced value or a tensor"] });
  const { axis, descending } = operatorOptions("sort", sortOptions, options);
  const k = x.shape.at(axis);
  if (typeof k !== "number") {
    throw new InputError("core-gpu.ops.sort", "the axis must have a known size", `axis ${axis} of ${printSpec(x)}`);
  }
  const [values, indices] = apply(TopK, [x], { k, axis, largest: descending }) as [Value, Value];
  return { values, indices };
}

const compressOptions = z.strictObject({ axis: z.int().default(0), kept: z.string().regex(/^[A-Za-z_]\w*$/) });

/**
 * The entries of x along an axis (default 0) for which `condition` (bool, one for each) holds. ONNX Compress.
 *
 * @param options.kept The symbol for how many those are, known only at run time.
 */
export function compress(
  x: Operand,
  condition: Operand,
  options: { readonly kept: string; readonly axis?: number },
): Value {
  return applyOne(Compress, [x, condition], operatorOptions("compress", compressOptions, options));
}
