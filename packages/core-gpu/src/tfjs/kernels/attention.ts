import type { Kernel, Kernels } from "../kernel.ts";
import { shifted } from "./activation.ts";
import { like } from "./arithmetic.ts";
import { matmul } from "./linear.ts";

/** Attention, and the weights of the values. */
const attention: Kernel<{ readonly scale: number }> = (tf, { operands: [q, k, v, mask], attributes: { scale } }) => {
  const scores = tf.mul(matmul(tf, q!, k!, { transposeA: false, transposeB: true }), like(tf, q!, scale));
  const rows = shifted(tf, mask === undefined ? scores : tf.add(scores, mask), [scores.shape.length - 1]);
  const weights = tf.div(tf.exp(rows.shifted), rows.sum);
  return [matmul(tf, weights, v!, { transposeA: false, transposeB: false }), weights];
};

export const kernels: Kernels = { attention: attention as Kernel };
