import type { Kernel, Kernels } from "../kernel.ts";
import { shifted } from "./activation.ts";
import { takeAlong } from "./scatter.ts";

/** The loss of each row, and the softmax. */
const crossEntropy: Kernel = (tf, { operands: [logits, labels] }) => {
  const last = logits!.shape.length - 1;
  const rows = shifted(tf, logits!, [last]);
  const own = takeAlong(tf, rows.shifted, tf.reshape(labels!, [...labels!.shape, 1]), last);
  const losses = tf.reshape(tf.sub(tf.log(rows.sum), own), labels!.shape);
  return [losses, tf.div(tf.exp(rows.shifted), rows.sum)];
};

export const kernels: Kernels = { crossEntropy };
