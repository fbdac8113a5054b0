import { z } from "zod";
import { refuse } from "../operator.ts";
import type { Spec } from "../spec.ts";
import { makeWindow, type Padding, type PerAxis, slide, spread } from "./window.ts";

/** Attributes of a pooling operator and of its gradient. */
export interface PoolAttributes {
  readonly kernel: PerAxis;
  readonly stride: PerAxis;
  readonly padding: Padding;
  readonly dilation: PerAxis;
}

/** The shape rule of the pooling operators. */
export function inferPool(x: Spec, attributes: PoolAttributes): readonly [Spec] {
  const count = x.shape.length - 2;
  if (count !== 1 && count !== 2) refuse("x must be [n, c, w] or [n, c, h, w]");
  const kernel = spread("kernel", attributes.kernel, count, 1);
  const window = makeWindow(count, attributes);
  if (kernel.some((size, axis) => Math.max(window.before[axis]!, window.after[axis]!) >= size)) {
    refuse(
      "padding must be smaller than the kernel",
      `padding ${JSON.stringify(attributes.padding)}, kernel ${kernel.join(" × ")}`,
    );
  }
  return [{ dtype: x.dtype, shape: [...x.shape.slice(0, 2), ...slide(x.shape.slice(2), kernel, window)] }];
}

/** Options of `maxPool` and `averagePool`. */
export interface PoolOptions {
  /** Size of the window. */
  readonly kernel: PerAxis;
  /** Step of the window. Default: its size. */
  readonly stride?: PerAxis;
  /** Elements around the input, fewer than the window has. Default 0. */
  readonly padding?: Padding;
}

export const kernelOption = { kernel: z.union([z.int(), z.array(z.int())]) };
