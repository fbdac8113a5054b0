import type { PoolAttributes } from "../../program/ops/pool-shape.ts";
import { makeWindow, spread } from "../../program/ops/window.ts";
import type { Kernel, Kernels } from "../kernel.ts";
import type { Tfjs, TfjsTensor } from "../tfjs.ts";
import { like } from "./arithmetic.ts";
import { places, seen, surround, unsee, unsurround } from "./window.ts";

const maxPool: Kernel<PoolAttributes> = (tf, { operands: [x], attributes, shapes: [shape] }) => {
  const window = makeWindow(x!.shape.length - 2, attributes);
  const kernel = spread("kernel", attributes.kernel, window.stride.length, 1);
  const padded = surround(tf, x!, window, Number.NEGATIVE_INFINITY);
  return places(kernel)
    .map((place) => seen(tf, padded, window, place, shape!.slice(2)))
    .reduce((largest, part) => tf.maximum(largest, part));
};

/** Sum of each window, and how many of its elements are not padding: [1, 1, ...spatial]. */
function windowSums(tf: Tfjs, x: TfjsTensor, attributes: PoolAttributes, sizes: readonly number[]) {
  const window = makeWindow(x.shape.length - 2, attributes);
  const kernel = spread("kernel", attributes.kernel, window.stride.length, 1);
  const sums = (value: TfjsTensor) => {
    const padded = surround(tf, value, window);
    return places(kernel)
      .map((place) => seen(tf, padded, window, place, sizes))
      .reduce((sum, part) => tf.add(sum, part));
  };
  const elements = kernel.reduce((product, size) => product * size, 1);
  return { sums: sums(x), counts: () => sums(tf.fill([1, 1, ...x.shape.slice(2)], 1, "float32")), elements };
}

/** The gradient goes to the first of the largest elements of each window, as in PyTorch. */
const maxPoolGradient: Kernel<PoolAttributes> = (tf, { operands: [x, gradient], attributes }) => {
  const window = makeWindow(x!.shape.length - 2, attributes);
  const kernel = spread("kernel", attributes.kernel, window.stride.length, 1);
  const padded = surround(tf, x!, window, Number.NEGATIVE_INFINITY);
  const sizes = gradient!.shape.slice(2);
  const parts = places(kernel).map((place) => ({ place, part: seen(tf, padded, window, place, sizes) }));
  const largest = parts.map(({ part }) => part).reduce((most, part) => tf.maximum(most, part));
  let free = tf.fill(gradient!.shape, 1, "float32");
  const terms = parts.map(({ place, part }) => {
    const hit = tf.mul(tf.cast(tf.equal(part, largest), "float32"), free);
    free = tf.sub(free, hit);
    return unsee(tf, tf.mul(gradient!, hit), window, place, padded.shape.slice(2));
  });
  return unsurround(
    tf,
    terms.reduce((sum, term) => tf.add(sum, term)),
    window,
    x!.shape.slice(2),
  );
};

const averagePool: Kernel<PoolAttributes & { readonly countPadding: boolean }> = (
  tf,
  { operands: [x], attributes, shapes: [shape] },
) => {
  const { sums, counts, elements } = windowSums(tf, x!, attributes, shape!.slice(2));
  return tf.div(sums, attributes.countPadding ? like(tf, sums, elements) : counts());
};

const globalAveragePool: Kernel = (tf, { operands: [x] }) => {
  const axes = x!.shape.map((_, axis) => axis).slice(2);
  const count = axes.reduce((product, axis) => product * x!.shape[axis]!, 1);
  return tf.div(tf.sum(x!, axes, true), like(tf, x!, count));
};

export const kernels: Kernels = {
  maxPool: maxPool as Kernel,
  maxPoolGradient: maxPoolGradient as Kernel,
  averagePool: averagePool as Kernel,
  globalAveragePool,
};
