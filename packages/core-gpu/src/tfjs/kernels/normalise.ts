import type { Kernel, Kernels } from "../kernel.ts";
import type { Tfjs, TfjsTensor } from "../tfjs.ts";
import { like } from "./arithmetic.ts";
import { perChannel } from "./conv.ts";

interface Epsilon {
  readonly epsilon: number;
}

const batchNorm: Kernel<Epsilon> = (tf, { operands, attributes: { epsilon } }) => {
  const x = operands[0]!;
  const [scale, bias, mean, variance] = operands.slice(1).map((vector) => perChannel(tf, vector, x.shape.length));
  const deviation = tf.sqrt(tf.add(variance!, like(tf, x, epsilon)));
  return tf.add(tf.mul(tf.div(tf.sub(x, mean!), deviation), scale!), bias!);
};

/** Mean of each channel, [1, c, 1, …]. */
function channelMean(tf: Tfjs, x: TfjsTensor): TfjsTensor {
  const axes = x.shape.map((_, axis) => axis).filter((axis) => axis !== 1);
  const count = axes.reduce((product, axis) => product * x.shape[axis]!, 1);
  return tf.div(tf.sum(x, axes, true), like(tf, x, count));
}

const batchNormTraining: Kernel<Epsilon> = (tf, { operands: [x, scale, bias], attributes: { epsilon } }) => {
  const rank = x!.shape.length;
  const mean = channelMean(tf, x!);
  const centred = tf.sub(x!, mean);
  const variance = channelMean(tf, tf.mul(centred, centred));
  const normal = tf.div(centred, tf.sqrt(tf.add(variance, like(tf, x!, epsilon))));
  const y = tf.add(tf.mul(normal, perChannel(tf, scale!, rank)), perChannel(tf, bias!, rank));
  return [y, tf.reshape(mean, scale!.shape), tf.reshape(variance, scale!.shape)];
};

const batchNormGradient: Kernel<Epsilon> = (tf, { operands, attributes: { epsilon } }) => {
  const [x, d, ...vectors] = operands as [TfjsTensor, TfjsTensor, ...TfjsTensor[]];
  const [scale, mean, variance] = vectors.map((vector) => perChannel(tf, vector, x.shape.length));
  const deviation = tf.sqrt(tf.add(variance!, like(tf, x, epsilon)));
  const normal = tf.div(tf.sub(x, mean!), deviation);
  const [ofBias, ofScale] = [channelMean(tf, d), channelMean(tf, tf.mul(d, normal))];
  const own = tf.sub(tf.sub(d, ofBias), tf.mul(normal, ofScale));
  const channels = vectors[0]!.shape;
  const count = x.shape.reduce((product, size) => product * size, 1) / channels[0]!;
  const total = (average: TfjsTensor) => tf.reshape(tf.mul(average, like(tf, x, count)), channels);
  return [tf.mul(tf.div(scale!, deviation), own), total(ofScale), total(ofBias)];
};

/** Mean of each row, [..., 1]. */
function rowMean(tf: Tfjs, x: TfjsTensor): TfjsTensor {
  const last = x.shape.length - 1;
  return tf.div(tf.sum(x, [last], true), like(tf, x, x.shape[last]!));
}

function inverseRoot(tf: Tfjs, x: TfjsTensor, epsilon: number): TfjsTensor {
  return tf.div(like(tf, x, 1), tf.sqrt(tf.add(x, like(tf, x, epsilon))));
}

const layerNorm: Kernel<Epsilon> = (tf, { operands: [x, scale, bias], attributes: { epsilon } }) => {
  const mean = rowMean(tf, x!);
  const centred = tf.sub(x!, mean);
  const inverse = inverseRoot(tf, rowMean(tf, tf.mul(centred, centred)), epsilon);
  return [tf.add(tf.mul(tf.mul(centred, inverse), scale!), bias!), mean, inverse];
};

const rmsNorm: Kernel<Epsilon> = (tf, { operands: [x, scale], attributes: { epsilon } }) => {
  const inverse = inverseRoot(tf, rowMean(tf, tf.mul(x!, x!)), epsilon);
  return [tf.mul(tf.mul(x!, inverse), scale!), inverse];
};

export const kernels: Kernels = {
  batchNorm: batchNorm as Kernel,
  batchNormTraining: batchNormTraining as Kernel,
  batchNormGradient: batchNormGradient as Kernel,
  layerNorm: layerNorm as Kernel,
  rmsNorm: rmsNorm as Kernel,
};
