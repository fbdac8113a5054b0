import type { Kernel, Kernels } from "../kernel.ts";
import type { Tfjs, TfjsTensor } from "../tfjs.ts";

/** x repeated to a shape that it broadcasts to. */
export function repeat(tf: Tfjs, x: TfjsTensor, shape: readonly number[]): TfjsTensor {
  const from = [...Array<number>(shape.length - x.shape.length).fill(1), ...x.shape];
  const repetitions = shape.map((size, axis) => (from[axis] === size ? 1 : size));
  if (shape.includes(0)) return tf.fill([...shape], 0, x.dtype as "float32");
  const same = from.length === x.shape.length ? x : tf.reshape(x, from);
  return repetitions.every((times) => times === 1) ? same : tf.tile(same, repetitions);
}

/** The shape that both broadcast to. */
export function broadcast(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    return left === 1 ? right : left;
  });
}

const toShape: Kernel = (tf, { operands: [x], shapes: [shape] }) => tf.reshape(x!, shape!);

const transpose: Kernel<{ readonly permutation: readonly number[] }> = (tf, { operands: [x], attributes }) =>
  tf.transpose(x!, [...attributes.permutation]);

const concat: Kernel<{ readonly axis: number }> = (tf, { operands, attributes: { axis } }) =>
  tf.concat([...operands], axis < 0 ? axis + operands[0]!.shape.length : axis);

const split: Kernel<{ readonly axis: number }> = (tf, { operands: [x], attributes: { axis }, shapes }) => {
  const at = axis < 0 ? axis + x!.shape.length : axis;
  let from = 0;
  return shapes.map((shape) => {
    const begin = shape!.map((_, other) => (other === at ? from : 0));
    from += shape![at]!;
    return tf.slice(x!, begin, shape!);
  });
};

const identity: Kernel = (_, { operands: [x] }) => x!;

interface PadAttributes {
  readonly amounts: readonly (readonly [number, number])[];
  readonly value: number;
  readonly mode: "constant" | "reflect" | "edge";
}

const pad: Kernel<PadAttributes> = (tf, { operands: [x], attributes: { amounts, value, mode } }) => {
  if (mode === "constant")
    return tf.pad(
      x!,
      amounts.map(([before, after]) => [before, after]),
      value,
    );
  return amounts.reduce((result, [before, after], axis) => {
    if (before === 0 && after === 0) return result;
    const last = result.shape[axis]! - 1;
    const indices = Int32Array.from({ length: before + last + 1 + after }, (_, at) => {
      const place = at - before;
      if (mode === "edge") return Math.min(Math.max(place, 0), last);
      return place < 0 ? -place : place > last ? 2 * last - place : place;
    });
    return tf.gather(result, tf.tensor(indices, [indices.length], "int32"), axis);
  }, x!);
};

export const kernels: Kernels = {
  reshape: toShape,
  flatten: toShape,
  squeeze: toShape,
  unsqueeze: toShape,
  transpose: transpose as Kernel,
  concat: concat as Kernel,
  expand: (tf, { operands: [x], shapes: [shape] }) => repeat(tf, x!, shape!),
  shapeOf: (tf, { operands: [x] }) => tf.tensor(Int32Array.from(x!.shape), [x!.shape.length], "int32"),
  identity,
  stopGradient: identity,
  split: split as Kernel,
  pad: pad as Kernel,
};
