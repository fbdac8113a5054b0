import type { CumSumOptions } from "../../program/ops/index.ts";
import type { Kernel, Kernels } from "../kernel.ts";
import type { Tfjs, TfjsTensor } from "../tfjs.ts";
import { fromStart } from "./select.ts";

const product = (sizes: readonly number[]) => sizes.reduce((all, size) => all * size, 1);

/** For each row of indices [..., m] its number among the entries of the first m axes; flat. */
function flatRows(tf: Tfjs, indices: TfjsTensor, shape: readonly number[]): TfjsTensor {
  const m = indices.shape.at(-1)!;
  const count = product(indices.shape.slice(0, -1));
  const table = tf.reshape(indices, [count, m]);
  let rows = tf.fill([count], 0, "int32");
  for (let axis = 0; axis < m; axis++) {
    const place = tf.reshape(tf.slice(table, [0, axis], [count, 1]), [count]);
    rows = tf.add(tf.mul(rows, tf.scalar(shape[axis]!, "int32")), fromStart(tf, place, shape[axis]!));
  }
  return rows;
}

/** x [s₁, …, sᵣ] with its first m axes joined and its others joined. */
function asTable(tf: Tfjs, x: TfjsTensor, m: number): TfjsTensor {
  return tf.reshape(x, [product(x.shape.slice(0, m)), product(x.shape.slice(m))]);
}

const gatherNd: Kernel = (tf, { operands: [x, indices], shapes: [shape] }) => {
  const m = indices!.shape.at(-1)!;
  const numbers = x!.dtype === "bool" ? tf.cast(x!, "int32") : x!;
  const found = tf.gather(asTable(tf, numbers, m), flatRows(tf, indices!, x!.shape), 0);
  const result = tf.reshape(found, shape ?? [...indices!.shape.slice(0, -1), ...x!.shape.slice(m)]);
  return x!.dtype === "bool" ? tf.cast(result, "bool") : result;
};

const scatterNd: Kernel = (tf, { operands: [x, indices, updates] }) => {
  const m = indices!.shape.at(-1)!;
  const table = asTable(tf, x!, m);
  const rows = flatRows(tf, indices!, x!.shape);
  const count = rows.shape[0]!;
  const places = tf.reshape(rows, [count, 1]);
  const placed = tf.scatterND(places, tf.reshape(updates!, [count, table.shape[1]!]), table.shape);
  const ones = tf.fill([count, table.shape[1]!], 1, "float32");
  const written = tf.greater(tf.scatterND(places, ones, table.shape), tf.scalar(0, "float32"));
  return tf.reshape(tf.where(written, placed, table), x!.shape);
};

const cumSum: Kernel<Required<CumSumOptions>> = (tf, { operands: [x], attributes: { axis, exclusive, reverse } }) =>
  tf.cumsum(x!, axis < 0 ? axis + x!.shape.length : axis, exclusive, reverse);

export const kernels: Kernels = {
  gatherNd,
  scatterNd,
  cumSum: cumSum as Kernel,
};
