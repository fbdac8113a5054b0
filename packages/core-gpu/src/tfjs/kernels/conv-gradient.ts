import type { ConvAttributes } from "../../program/ops/conv-shape.ts";
import { makeWindow, type PerAxis, type Window } from "../../program/ops/window.ts";
import type { Kernel, Kernels } from "../kernel.ts";
import type { Tfjs, TfjsTensor } from "../tfjs.ts";
import { convolve, perChannel } from "./conv.ts";
import { places, seen, spreadOut, surround } from "./window.ts";

/** x [n, c, ...spatial] with zeros added before and after its spatial axes, or where negative elements cut off. */
function padOrCut(tf: Tfjs, x: TfjsTensor, amounts: readonly (readonly [number, number])[]): TfjsTensor {
  const none: [number, number] = [0, 0];
  const added = amounts.map(([before, after]): [number, number] => [Math.max(before, 0), Math.max(after, 0)]);
  const padded = tf.pad(x, [none, none, ...added]);
  const begin = [0, 0, ...amounts.map(([before]) => Math.max(-before, 0))];
  const sizes = padded.shape.map((size, axis) => size - begin[axis]! - Math.max(-(amounts[axis - 2]?.[1] ?? 0), 0));
  return tf.slice(padded, begin, sizes);
}

/** weight [groups · a, b, ...kernel] with a and b exchanged in each group, and mirrored. */
function mirrored(tf: Tfjs, weight: TfjsTensor, groups: number): TfjsTensor {
  const [rows, columns, ...kernel] = weight.shape as [number, number, ...number[]];
  const grouped = tf.reshape(weight, [groups, rows / groups, columns, product(kernel)]);
  const swapped = tf.reshape(tf.transpose(grouped, [0, 2, 1, 3]), [groups * columns, rows / groups, ...kernel]);
  return tf.reverse(
    swapped,
    kernel.map((_, axis) => axis + 2),
  );
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((all, size) => all * size, 1);
}

/** Lays the weight down at every element of x, `window.stride` apart, and cuts the spatial sizes `sizes` out of the sum. */
function layDown(
  tf: Tfjs,
  x: TfjsTensor,
  weight: TfjsTensor,
  window: Window,
  groups: number,
  sizes: readonly number[],
): TfjsTensor {
  const apart = spreadOut(tf, x, window.stride);
  const amounts = sizes.map((size, axis): [number, number] => {
    const reach = window.dilation[axis]! * (weight.shape[axis + 2]! - 1);
    const before = reach - window.before[axis]!;
    return [before, size + reach - apart.shape[axis + 2]! - before];
  });
  const nothing = sizes.map(() => 0);
  const still = { stride: sizes.map(() => 1), before: nothing, after: nothing, dilation: window.dilation };
  return convolve(tf, padOrCut(tf, apart, amounts), mirrored(tf, weight, groups), still, groups);
}

const convInputGradient: Kernel<ConvAttributes> = (tf, { operands: [gradient, weight], attributes, shapes: [shape] }) =>
  layDown(
    tf,
    gradient!,
    weight!,
    makeWindow(gradient!.shape.length - 2, attributes),
    attributes.groups,
    shape!.slice(2),
  );

const convTranspose: Kernel<ConvAttributes & { readonly outputPadding: PerAxis }> = (
  tf,
  { operands: [x, weight, bias], attributes, shapes: [shape] },
) => {
  const window = makeWindow(x!.shape.length - 2, attributes);
  const result = layDown(tf, x!, weight!, window, attributes.groups, shape!.slice(2));
  return bias === undefined ? result : tf.add(result, perChannel(tf, bias, result.shape.length));
};

/** One product for each place in the kernel: not every back end has the filter's gradient. */
const convWeightGradient: Kernel<ConvAttributes> = (tf, { operands: [x, gradient], attributes, shapes: [shape] }) => {
  const { groups } = attributes;
  const window = makeWindow(x!.shape.length - 2, attributes);
  const [out, perGroup, ...kernel] = shape! as [number, number, ...number[]];
  const [n, , ...sizes] = gradient!.shape as [number, number, ...number[]];
  const grouped = (value: TfjsTensor, permutation: number[], shape: number[]) =>
    tf.reshape(
      tf.transpose(
        tf.reshape(value, [n, groups, value.shape[1]! / groups, product(value.shape.slice(2))]),
        permutation,
      ),
      shape,
    );
  const rows = n * product(sizes);
  const left = grouped(gradient!, [1, 2, 0, 3], [groups, out / groups, rows]);
  const padded = surround(tf, x!, window);
  const parts = places(kernel).map((place) => {
    const right = grouped(seen(tf, padded, window, place, sizes), [1, 0, 3, 2], [groups, rows, perGroup]);
    return tf.reshape(tf.matMul(left, right), [out, perGroup, 1]);
  });
  return tf.reshape(tf.concat(parts, 2), shape!);
};

export const kernels: Kernels = {
  convInputGradient: convInputGradient as Kernel,
  convTranspose: convTranspose as Kernel,
  convWeightGradient: convWeightGradient as Kernel,
};
