import type { Kernel, Kernels } from "../kernel.ts";
import type { Tfjs, TfjsTensor } from "../tfjs.ts";
import { fromStart } from "./select.ts";

interface AlongAxis {
  readonly axis: number;
}

const product = (sizes: readonly number[]) => sizes.reduce((all, size) => all * size, 1);

/**
 * Where in the row-major elements of an array of shape `shape` each index along `axis` points, with its own place on the
 * other axes; flat.
 */
function flatPlaces(tf: Tfjs, indices: TfjsTensor, shape: readonly number[], axis: number): TfjsTensor {
  const at = axis < 0 ? axis + shape.length : axis;
  const inner = product(shape.slice(at + 1));
  const [count, size] = [indices.shape[at]!, shape[at]!];
  const bases = new Int32Array(product(indices.shape));
  for (let place = 0; place < bases.length; place++) {
    bases[place] = Math.floor(place / (count * inner)) * size * inner + (place % inner);
  }
  const flat = tf.reshape(fromStart(tf, indices, size), [bases.length]);
  return tf.add(tf.mul(flat, tf.scalar(inner, "int32")), tf.tensor(bases, [bases.length], "int32"));
}

/** For each index the element of x at it: `x[i, indices[i, j]]`. */
export function takeAlong(tf: Tfjs, x: TfjsTensor, indices: TfjsTensor, axis: number): TfjsTensor {
  const flat = tf.reshape(x, [product(x.shape)]);
  return tf.reshape(tf.gather(flat, flatPlaces(tf, indices, x.shape, axis), 0), indices.shape);
}

/** Zeros like x with updates added at the places of indices. */
function scattered(tf: Tfjs, x: TfjsTensor, indices: TfjsTensor, updates: TfjsTensor, axis: number): TfjsTensor {
  const places = tf.reshape(flatPlaces(tf, indices, x.shape, axis), [product(indices.shape), 1]);
  const flat = tf.reshape(updates, [product(indices.shape)]);
  return tf.reshape(tf.scatterND(places, flat, [product(x.shape)]), x.shape);
}

const takeAlongAxis: Kernel<AlongAxis> = (tf, { operands: [x, indices], attributes: { axis } }) =>
  takeAlong(tf, x!, indices!, axis);

const scatter: Kernel<AlongAxis> = (tf, { operands: [x, indices, updates], attributes: { axis } }) => {
  const ones = tf.fill(indices!.shape, 1, "float32");
  const written = tf.greater(scattered(tf, x!, indices!, ones, axis), tf.scalar(0, "float32"));
  return tf.where(written, scattered(tf, x!, indices!, updates!, axis), x!);
};

const scatterAdd: Kernel<AlongAxis> = (tf, { operands: [x, indices, updates], attributes: { axis } }) =>
  tf.add(x!, scattered(tf, x!, indices!, updates!, axis));

const indexAdd: Kernel<AlongAxis> = (tf, { operands: [x, indices, updates], attributes }) => {
  const axis = attributes.axis < 0 ? attributes.axis + x!.shape.length : attributes.axis;
  const column = x!.shape.map((_, at) => (at === axis ? indices!.shape[0]! : 1));
  const repetitions = updates!.shape.map((size, at) => (at === axis ? 1 : size));
  const all = tf.tile(tf.reshape(indices!, column), repetitions);
  return tf.add(x!, scattered(tf, x!, all, updates!, axis));
};

const iota: Kernel<AlongAxis> = (tf, { operands: [x], attributes: { axis } }) =>
  tf.range(0, x!.shape.at(axis)!, 1, "int32");

export const kernels: Kernels = {
  takeAlongAxis: takeAlongAxis as Kernel,
  scatter: scatter as Kernel,
  scatterAdd: scatterAdd as Kernel,
  indexAdd: indexAdd as Kernel,
  iota: iota as Kernel,
};
