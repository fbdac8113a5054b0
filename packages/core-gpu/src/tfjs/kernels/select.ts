import type { Range } from "../../program/ops/select.ts";
import type { Kernel, Kernels } from "../kernel.ts";
import type { Tfjs, TfjsTensor } from "../tfjs.ts";
import { like } from "./arithmetic.ts";

/** Indices as NumPy's slices take them: clamped to the axis; the last of them is not included. */
function bounds(size: number, { from, to, step = 1 }: Range): { start: number; count: number } {
  const [least, most] = step > 0 ? [0, size] : [-1, size - 1];
  const place = (index: number) => Math.min(Math.max(index < 0 ? index + size : index, least!), most!);
  const start = from === undefined ? (step > 0 ? 0 : most!) : place(from);
  const stop = to === undefined ? (step > 0 ? size : -1) : place(to);
  return { start, count: Math.max(0, Math.ceil((stop - start) / step)) };
}

/** Entries of one axis: `count` of them from `start`, `step` apart; a negative step goes backwards. */
export function along(tf: Tfjs, x: TfjsTensor, axis: number, start: number, count: number, step: number): TfjsTensor {
  const only = (value: number, others: (axis: number) => number) =>
    x.shape.map((_, other) => (other === axis ? value : others(other)));
  const whole = (other: number) => x.shape[other]!;
  const zero = () => 0;
  if (count === 0) return tf.slice(x, only(0, zero), only(0, whole));
  if (Math.abs(step) > 1 && x.dtype !== "float32") {
    // The wasm back end takes the bits of whole numbers for floats in its stridedSlice.
    const indices = Int32Array.from({ length: count }, (_, at) => start + at * step);
    return tf.gather(x, tf.tensor(indices, [count], "int32"), axis);
  }
  const reach = (count - 1) * Math.abs(step) + 1;
  const first = step > 0 ? start : start + (count - 1) * step;
  const part = tf.slice(x, only(first, zero), only(reach, whole));
  const forward = step > 0 ? part : tf.reverse(part, [axis]);
  if (Math.abs(step) === 1) return forward;
  const steps = only(Math.abs(step), () => 1);
  return tf.stridedSlice(forward, only(0, zero), only(reach, whole), steps);
}

const slice: Kernel<{ readonly ranges: readonly Range[] }> = (tf, { operands: [x], attributes: { ranges } }) =>
  ranges.reduce((result, range) => {
    const axis = range.axis < 0 ? range.axis + x!.shape.length : range.axis;
    const { start, count } = bounds(result.shape[axis]!, range);
    return along(tf, result, axis, start, count, range.step ?? 1);
  }, x!);

/** Negative indices count from the end in ONNX, not in tfjs. */
export function fromStart(tf: Tfjs, indices: TfjsTensor, size: number): TfjsTensor {
  return tf.where(tf.less(indices, like(tf, indices, 0)), tf.add(indices, like(tf, indices, size)), indices);
}

const gather: Kernel<{ readonly axis: number }> = (tf, { operands: [x, indices], attributes, shapes: [shape] }) => {
  const axis = attributes.axis < 0 ? attributes.axis + x!.shape.length : attributes.axis;
  const count = indices!.shape.reduce((product, size) => product * size, 1);
  const flat = tf.reshape(fromStart(tf, indices!, x!.shape[axis]!), [count]);
  const found = tf.gather(asNumbers(tf, x!), flat, axis);
  return asLike(tf, tf.reshape(found, shape ?? found.shape), x!);
};

/** bool as int32, for what not every back end does with bool. */
function asNumbers(tf: Tfjs, x: TfjsTensor): TfjsTensor {
  return x.dtype === "bool" ? tf.cast(x, "int32") : x;
}

function asLike(tf: Tfjs, result: TfjsTensor, x: TfjsTensor): TfjsTensor {
  return x.dtype === "bool" ? tf.equal(result, like(tf, result, 1)) : result;
}

interface TopKAttributes {
  readonly k: number;
  readonly axis: number;
  readonly largest: boolean;
}

const topK: Kernel<TopKAttributes> = (tf, { operands: [x], attributes: { k, axis, largest } }) => {
  const rank = x!.shape.length;
  const swapped = Array.from({ length: rank }, (_, at) => at);
  const at = axis < 0 ? axis + rank : axis;
  swapped[at] = rank - 1;
  swapped[rank - 1] = at;
  const last = at === rank - 1 ? x! : tf.transpose(x!, swapped);
  const { values, indices } = tf.topk(largest ? last : tf.neg(last), k, true);
  const back = (found: TfjsTensor) => (at === rank - 1 ? found : tf.transpose(found, swapped));
  return [back(largest ? values : tf.neg(values)), back(indices)];
};

/** The one operator whose result's size the data tell: they are read. */
const compress: Kernel<{ readonly axis: number }> = (tf, { operands: [x, condition], attributes: { axis } }) => {
  const flags = condition!.dataSync() as Uint8Array;
  const kept = Int32Array.from([...flags.keys()].filter((at) => flags[at] !== 0));
  const at = axis < 0 ? axis + x!.shape.length : axis;
  if (kept.length === 0) return along(tf, x!, at, 0, 0, 1);
  return asLike(tf, tf.gather(asNumbers(tf, x!), tf.tensor(kept, [kept.length], "int32"), at), x!);
};

export const kernels: Kernels = {
  slice: slice as Kernel,
  gather: gather as Kernel,
  topK: topK as Kernel,
  compress: compress as Kernel,
};
