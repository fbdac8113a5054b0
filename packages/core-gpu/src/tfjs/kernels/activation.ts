import type { Kernel, Kernels } from "../kernel.ts";
import type { Tfjs, TfjsTensor } from "../tfjs.ts";
import { each, like } from "./arithmetic.ts";

const leakyRelu: Kernel<{ readonly slope: number }> = (tf, { operands: [x], attributes: { slope } }) =>
  tf.where(tf.greaterEqual(x!, like(tf, x!, 0)), x!, tf.mul(x!, like(tf, x!, slope)));

const gelu: Kernel<{ readonly approximate: "none" | "tanh" }> = (tf, { operands: [x], attributes }) => {
  const times = (a: TfjsTensor, by: number) => tf.mul(a, like(tf, a, by));
  const cubic = () => tf.add(x!, times(tf.mul(tf.mul(x!, x!), x!), 0.044715));
  const gate =
    attributes.approximate === "none"
      ? tf.erf(times(x!, Math.SQRT1_2))
      : tf.tanh(times(cubic(), Math.sqrt(2 / Math.PI)));
  return tf.mul(times(x!, 0.5), tf.add(gate, like(tf, gate, 1)));
};

interface AlongAxis {
  readonly axis: number;
}

/** `x − max` along an axis and the sum of its exponentials, which stays with size 1. */
export function shifted(tf: Tfjs, x: TfjsTensor, axes: number[]): { shifted: TfjsTensor; sum: TfjsTensor } {
  const centred = tf.sub(x, tf.max(x, axes, true));
  return { shifted: centred, sum: tf.sum(tf.exp(centred), axes, true) };
}

const softmax: Kernel<AlongAxis> = (tf, { operands: [x], attributes: { axis } }) => {
  const parts = shifted(tf, x!, [axis]);
  return tf.div(tf.exp(parts.shifted), parts.sum);
};

const logSoftmax: Kernel<AlongAxis> = (tf, { operands: [x], attributes: { axis } }) => {
  const parts = shifted(tf, x!, [axis]);
  return tf.sub(parts.shifted, tf.log(parts.sum));
};

export const kernels: Kernels = {
  relu: each("relu"),
  sigmoid: each("sigmoid"),
  tanh: each("tanh"),
  softplus: each("softplus"),
  leakyRelu: leakyRelu as Kernel,
  gelu: gelu as Kernel,
  softmax: softmax as Kernel,
  logSoftmax: logSoftmax as Kernel,
};
