import type { Kernel, Kernels } from "../kernel.ts";
import type { Tfjs, TfjsTensor } from "../tfjs.ts";
import { broadcast, repeat } from "./shape.ts";

interface Transposed {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/** `a [..., m, k] · b [..., k, n]`, one or both stored transposed; what stands before broadcasts. */
export function matmul(tf: Tfjs, a: TfjsTensor, b: TfjsTensor, { transposeA, transposeB }: Transposed): TfjsTensor {
  const m = a.shape.at(transposeA ? -1 : -2)!;
  const n = b.shape.at(transposeB ? -2 : -1)!;
  if (b.shape.length === 2 && !transposeA) {
    const rows = a.shape.slice(0, -1);
    const product = tf.matMul(tf.reshape(a, [size(rows), a.shape.at(-1)!]), b, false, transposeB);
    return tf.reshape(product, [...rows, n]);
  }
  const batch = broadcast(a.shape.slice(0, -2), b.shape.slice(0, -2));
  // By copies, since back ends differ in what they broadcast.
  const spread = (x: TfjsTensor) =>
    tf.reshape(repeat(tf, x, [...batch, ...x.shape.slice(-2)]), [size(batch), ...x.shape.slice(-2)]);
  return tf.reshape(tf.matMul(spread(a), spread(b), transposeA, transposeB), [...batch, m, n]);
}

function size(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1);
}

export const kernels: Kernels = {
  matmul: ((tf, { operands: [a, b], attributes }) => matmul(tf, a!, b!, attributes)) as Kernel<Transposed> as Kernel,
  linear: (tf, { operands: [x, weight, bias] }) => {
    const product = matmul(tf, x!, weight!, { transposeA: false, transposeB: true });
    return bias === undefined ? product : tf.add(product, bias);
  },
};
