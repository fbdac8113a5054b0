import type { ConvAttributes } from "../../program/ops/conv-shape.ts";
import { makeWindow, type Window } from "../../program/ops/window.ts";
import type { Kernel, Kernels } from "../kernel.ts";
import type { Tfjs, TfjsTensor } from "../tfjs.ts";
import { spreadOut, surround } from "./window.ts";

/** Channel bias [c] in the shape that adds to [n, c, ...spatial]. */
export function perChannel(tf: Tfjs, vector: TfjsTensor, rank: number): TfjsTensor {
  return tf.reshape(vector, [1, vector.shape[0]!, ...Array<number>(rank - 2).fill(1)]);
}

/** Channels `from` to `from + count` of x (axis 1) or of a weight (axis 0). */
function channels(tf: Tfjs, x: TfjsTensor, axis: number, from: number, count: number): TfjsTensor {
  return tf.slice(
    x,
    x.shape.map((_, at) => (at === axis ? from : 0)),
    x.shape.map((size, at) => (at === axis ? count : size)),
  );
}

/** Convolution of x [n, c, h, w] already surrounded, by weight [out, c ÷ groups, kh, kw]. */
function convolve2d(tf: Tfjs, x: TfjsTensor, weight: TfjsTensor, window: Window, groups: number): TfjsTensor {
  const [stride, dilation] = [window.stride, window.dilation] as [[number, number], [number, number]];
  // tfjs has either a stride or a dilation: with both, the weight is spread out instead.
  const strides = stride.some((step) => step > 1);
  const filter = strides ? spreadOut(tf, weight, dilation) : weight;
  const apart: [number, number] = strides ? [1, 1] : [dilation[0], dilation[1]];
  const image = tf.transpose(x, [0, 2, 3, 1]);
  const [out, perGroup] = weight.shape as [number, number];
  const result =
    groups > 1 && perGroup === 1
      ? depthwise(tf, image, filter, [stride[0], stride[1]], apart, out / groups)
      : tf.concat(
          Array.from({ length: groups }, (_, group) => {
            const part = groups === 1 ? image : channels(tf, image, 3, group * perGroup, perGroup);
            const own = groups === 1 ? filter : channels(tf, filter, 0, (group * out) / groups, out / groups);
            const ready = tf.transpose(own, [2, 3, 1, 0]);
            return tf.conv2d(part, ready, [stride[0], stride[1]], "valid", "NHWC", apart);
          }),
          3,
        );
  return tf.transpose(result, [0, 3, 1, 2]);
}

/** Each channel on its own; tfjs's filter is [kh, kw, c, multiplier] and its result in our order. */
function depthwise(
  tf: Tfjs,
  image: TfjsTensor,
  weight: TfjsTensor,
  stride: [number, number],
  dilation: [number, number],
  multiplier: number,
): TfjsTensor {
  const [out, , kh, kw] = weight.shape as [number, number, number, number];
  const filter = tf.transpose(tf.reshape(weight, [out / multiplier, multiplier, kh, kw]), [2, 3, 0, 1]);
  return tf.depthwiseConv2d(image, filter, stride, "valid", "NHWC", dilation);
}

/** Convolution over one or two spatial axes, as the operator `conv` has it. */
export function convolve(tf: Tfjs, x: TfjsTensor, weight: TfjsTensor, window: Window, groups: number): TfjsTensor {
  const padded = surround(tf, x, window);
  if (x.shape.length === 4) return convolve2d(tf, padded, weight, window, groups);
  const raised = (value: TfjsTensor) => {
    const [first, second, width] = value.shape as [number, number, number];
    return tf.reshape(value, [first, second, 1, width]);
  };
  const [stride, dilation] = [
    [1, window.stride[0]!],
    [1, window.dilation[0]!],
  ];
  const result = convolve2d(tf, raised(padded), raised(weight), { stride, dilation, before: [], after: [] }, groups);
  const [n, out, , width] = result.shape as [number, number, number, number];
  return tf.reshape(result, [n, out, width]);
}

const conv: Kernel<ConvAttributes> = (tf, { operands: [x, weight, bias], attributes }) => {
  const window = makeWindow(x!.shape.length - 2, attributes);
  const result = convolve(tf, x!, weight!, window, attributes.groups);
  return bias === undefined ? result : tf.add(result, perChannel(tf, bias, result.shape.length));
};

export const kernels: Kernels = { conv: conv as Kernel };
