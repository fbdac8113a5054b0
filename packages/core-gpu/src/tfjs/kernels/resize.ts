import type { Kernel, Kernels } from "../kernel.ts";
import type { Tfjs, TfjsTensor } from "../tfjs.ts";

interface ResizeAttributes {
  readonly height: number;
  readonly width: number;
  readonly mode: "nearest" | "bilinear";
  readonly coordinates: "halfPixel" | "alignCorners" | "asymmetric";
  readonly rounding: "floor" | "ceil" | "roundPreferFloor" | "roundPreferCeil";
}

/** For each element of the new axis its nearest element of the old one. */
function nearest(from: number, to: number, { coordinates, rounding }: ResizeAttributes): Int32Array {
  return Int32Array.from({ length: to }, (_, place) => {
    const even = coordinates === "halfPixel" ? ((place + 0.5) * from) / to - 0.5 : (place * from) / to;
    const at = coordinates !== "alignCorners" ? even : to === 1 ? 0 : (place * (from - 1)) / (to - 1);
    const whole = { floor: Math.floor(at), ceil: Math.ceil(at) }[rounding as "floor" | "ceil"];
    const found = whole ?? (rounding === "roundPreferCeil" ? Math.floor(at + 0.5) : Math.ceil(at - 0.5));
    return Math.min(Math.max(found, 0), from - 1);
  });
}

function pick(tf: Tfjs, x: TfjsTensor, axis: number, indices: Int32Array): TfjsTensor {
  return tf.gather(x, tf.tensor(indices, [indices.length], "int32"), axis);
}

const resize: Kernel<ResizeAttributes> = (tf, { operands: [x], attributes }) => {
  const { height, width, mode, coordinates } = attributes;
  if (mode === "nearest") {
    const [h, w] = x!.shape.slice(2) as [number, number];
    return pick(tf, pick(tf, x!, 2, nearest(h, height, attributes)), 3, nearest(w, width, attributes));
  }
  const corners = coordinates === "alignCorners";
  const image = tf.transpose(x!, [0, 2, 3, 1]);
  const resized = tf.image.resizeBilinear(image, [height, width], corners, coordinates === "halfPixel");
  return tf.transpose(resized, [0, 3, 1, 2]);
};

export const kernels: Kernels = { resize: resize as Kernel };
