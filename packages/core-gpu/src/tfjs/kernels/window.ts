import type { Window } from "../../program/ops/window.ts";
import type { Tfjs, TfjsTensor } from "../tfjs.ts";
import { along } from "./select.ts";

/** x [n, c, ...spatial] with `value` around its spatial axes. */
export function surround(tf: Tfjs, x: TfjsTensor, { before, after }: Window, value = 0): TfjsTensor {
  if ([...before, ...after].every((amount) => amount === 0)) return x;
  const amounts = before.map((amount, axis): [number, number] => [amount, after[axis]!]);
  return tf.pad(x, [[0, 0], [0, 0], ...amounts], value);
}

/** x without what {@link surround} put around an array whose spatial sizes were `sizes`. */
export function unsurround(tf: Tfjs, x: TfjsTensor, { before }: Window, sizes: readonly number[]): TfjsTensor {
  return tf.slice(x, [0, 0, ...before], [...x.shape.slice(0, 2), ...sizes]);
}

/** All places in a window, row-major: `[0, 0], [0, 1], …`. */
export function places(kernel: readonly number[]): readonly (readonly number[])[] {
  return kernel.reduce<readonly (readonly number[])[]>(
    (found, size) => found.flatMap((place) => Array.from({ length: size }, (_, at) => [...place, at])),
    [[]],
  );
}

/** What the window's element at `place` sees of an x already surrounded: [n, c, ...sizes of the result]. */
export function seen(
  tf: Tfjs,
  x: TfjsTensor,
  { stride, dilation }: Window,
  place: readonly number[],
  sizes: readonly number[],
): TfjsTensor {
  return place.reduce(
    (part, at, axis) => along(tf, part, axis + 2, at * dilation[axis]!, sizes[axis]!, stride[axis]!),
    x,
  );
}

/** x with `by − 1` zeros between neighbours on each spatial axis. */
export function spreadOut(tf: Tfjs, x: TfjsTensor, by: readonly number[]): TfjsTensor {
  return by.reduce((result, step, spatial) => {
    if (step === 1 || result.shape[spatial + 2]! < 2) return result;
    const axis = spatial + 2;
    const { shape } = result;
    const spread = tf.reshape(result, [...shape.slice(0, axis + 1), 1, ...shape.slice(axis + 1)]);
    const amounts = spread.shape.map((_, at): [number, number] => (at === axis + 1 ? [0, step - 1] : [0, 0]));
    const joined = [...shape.slice(0, axis), shape[axis]! * step, ...shape.slice(axis + 1)];
    return along(tf, tf.reshape(tf.pad(spread, amounts), joined), axis, 0, joined[axis]! - step + 1, 1);
  }, x);
}

/** The adjoint of {@link seen}: `part` put where it was seen in an array of zeros with the spatial sizes `sizes`. */
export function unsee(
  tf: Tfjs,
  part: TfjsTensor,
  { stride, dilation }: Window,
  place: readonly number[],
  sizes: readonly number[],
): TfjsTensor {
  const apart = spreadOut(tf, part, stride);
  const amounts = place.map((at, axis): [number, number] => {
    const first = at * dilation[axis]!;
    return [first, sizes[axis]! - first - apart.shape[axis + 2]!];
  });
  return tf.pad(apart, [[0, 0], [0, 0], ...amounts]);
}
