import { normaliseAxes } from "../../program/operator.ts";
import type { Kernel, KernelCall, Kernels } from "../kernel.ts";
import type { Tfjs, TfjsTensor } from "../tfjs.ts";
import { shifted } from "./activation.ts";
import { like } from "./arithmetic.ts";

interface ReduceAttributes {
  readonly axes: number | readonly number[] | undefined;
  readonly keepDimensions: boolean;
}

/** A reduction; `reduce` gets axes 0 … rank − 1 and keeps them with size 1. */
function reduction(reduce: (tf: Tfjs, x: TfjsTensor, axes: number[]) => TfjsTensor): Kernel {
  return (tf, call) => {
    const { operands, attributes, shapes } = call as KernelCall<ReduceAttributes>;
    const x = operands[0]!;
    const axes = [...normaliseAxes(attributes.axes, x.shape.length)];
    return tf.reshape(axes.length === 0 ? reduceScalar(tf, x, reduce) : reduce(tf, x, axes), shapes[0]!);
  };
}

/** Reduces a scalar as a list of one: not every back end reduces nothing. */
function reduceScalar(tf: Tfjs, x: TfjsTensor, reduce: (tf: Tfjs, x: TfjsTensor, axes: number[]) => TfjsTensor) {
  return reduce(tf, tf.reshape(x, [1]), [0]);
}

/** Products by halves, which every back end can do for every dtype. */
function product(tf: Tfjs, x: TfjsTensor, axes: readonly number[]): TfjsTensor {
  return axes.reduce((result, axis) => productAlong(tf, result, axis), x);
}

function productAlong(tf: Tfjs, x: TfjsTensor, axis: number): TfjsTensor {
  const size = x.shape[axis]!;
  if (size === 1) return x;
  const at = (index: number, length: number) => {
    const sizes = x.shape.map((all, other) => (other === axis ? length : all));
    return tf.slice(
      x,
      x.shape.map((_, other) => (other === axis ? index : 0)),
      sizes,
    );
  };
  if (size === 0) {
    const shape = x.shape.map((all, other) => (other === axis ? 1 : all));
    return tf.fill(shape, 1, x.dtype === "int32" ? "int32" : "float32");
  }
  const half = Math.floor(size / 2);
  const multiplied = productAlong(tf, tf.mul(at(0, half), at(half, half)), axis);
  return size % 2 === 0 ? multiplied : tf.mul(multiplied, at(size - 1, 1));
}

function mean(tf: Tfjs, x: TfjsTensor, axes: number[]): TfjsTensor {
  const count = axes.reduce((size, axis) => size * x.shape[axis]!, 1);
  return tf.div(tf.sum(x, axes, true), like(tf, x, count));
}

interface ArgAttributes {
  readonly axis: number;
  readonly keepDimensions: boolean;
}

function argReduction(name: "argMax" | "argMin"): Kernel {
  return (tf, call) => {
    const { operands, attributes, shapes } = call as KernelCall<ArgAttributes>;
    const x = operands[0]!;
    const found = tf[name](x, attributes.axis < 0 ? attributes.axis + x.shape.length : attributes.axis);
    return tf.reshape(found, shapes[0]!);
  };
}

export const kernels: Kernels = {
  sum: reduction((tf, x, axes) => tf.sum(x, axes, true)),
  mean: reduction(mean),
  max: reduction((tf, x, axes) => tf.max(x, axes, true)),
  min: reduction((tf, x, axes) => tf.min(x, axes, true)),
  prod: reduction(product),
  sumSquares: reduction((tf, x, axes) => tf.sum(tf.mul(x, x), axes, true)),
  logSumExp: reduction((tf, x, axes) => {
    const largest = tf.max(x, axes, true);
    return tf.add(tf.log(shifted(tf, x, axes).sum), largest);
  }),
  argMax: argReduction("argMax"),
  argMin: argReduction("argMin"),
};
