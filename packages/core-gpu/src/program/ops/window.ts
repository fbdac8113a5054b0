import { z } from "zod";
import { addDimensions, type Dimension, divideDimension, type Shape } from "../dimensions.ts";
import { refuse } from "../operator.ts";

const perAxis = z.union([z.int(), z.array(z.int())]);

/** Options of everything that slides a window over an image, checked here for their form only. */
export const windowOptions = {
  stride: perAxis.optional(),
  padding: z.union([z.int(), z.array(z.union([z.int(), z.tuple([z.int(), z.int()])]))]).default(0),
  dilation: perAxis.default(1),
};

/** One number for all spatial axes, or one for each. */
export type PerAxis = number | readonly number[];

/** Zeros (or, for maxima, nothing) before and after each spatial axis: one number for all, or a number or a pair for each. */
export type Padding = number | readonly (number | readonly [number, number])[];

/** A window with a value for every spatial axis; `before` and `after` are the padding. */
export interface Window {
  readonly stride: readonly number[];
  readonly before: readonly number[];
  readonly after: readonly number[];
  readonly dilation: readonly number[];
}

/** One value for each of `count` axes, each at least `least`. */
export function spread(what: string, given: PerAxis, count: number, least: number): readonly number[] {
  const list = typeof given === "number" ? Array<number>(count).fill(given) : given;
  if (list.length !== count || list.some((value) => value < least)) {
    refuse(`${what} must be a whole number ≥ ${least}, or ${count} of them`, JSON.stringify(given));
  }
  return list;
}

/** The window of the given options over `count` spatial axes. */
export function makeWindow(
  count: number,
  given: { readonly stride: PerAxis; readonly padding: Padding; readonly dilation: PerAxis },
): Window {
  const pairs = typeof given.padding === "number" ? Array<number>(count).fill(given.padding) : given.padding;
  const side = (index: 0 | 1) =>
    spread(
      "padding",
      pairs.map((pair) => (typeof pair === "number" ? pair : pair[index])),
      count,
      0,
    );
  return {
    stride: spread("stride", given.stride, count, 1),
    before: side(0),
    after: side(1),
    dilation: spread("dilation", given.dilation, count, 1),
  };
}

/** Spatial dimensions of the result: `floor((size + padding − dilation·(kernel − 1) − 1) ÷ stride) + 1` on each axis. */
export function slide(sizes: Shape, kernel: readonly number[], window: Window): Shape {
  return sizes.map((size, axis) => {
    const reach = window.dilation[axis]! * (kernel[axis]! - 1) + 1;
    const span = addDimensions(size, window.before[axis]! + window.after[axis]! - reach);
    if (typeof span === "number" && span < 0) {
      refuse(
        `the window must not be larger than the padded input on spatial axis ${axis}`,
        `window ${reach}, padded size ${span + reach}`,
      );
    }
    return addDimensions(divideDimension(span, window.stride[axis]!), 1);
  });
}

/** Attributes of the ONNX operators that take a window. */
export function windowAttributes({ stride, before, after, dilation }: Window) {
  return { strides: stride, pads: [...before, ...after], dilations: dilation };
}

/** Sizes known when the program is traced, as a kernel's must be. */
export function knownSizes(what: string, sizes: Shape): readonly number[] {
  if (sizes.some((size: Dimension) => typeof size === "string")) refuse(`${what} must have no symbolic dimension`);
  return sizes as readonly number[];
}

/** All positions in a window (or another box) of the given sizes, row-major. */
export function kernelPositions(sizes: readonly number[]): readonly (readonly number[])[] {
  return sizes.reduce<readonly (readonly number[])[]>(
    (all, size) => all.flatMap((offset) => Array.from({ length: size }, (_, at) => [...offset, at])),
    [[]],
  );
}
