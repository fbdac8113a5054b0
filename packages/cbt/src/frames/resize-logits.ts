import { InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkLogits, type Logits } from "./logits.ts";

/** Where pixel i of a new axis lies on the old one: `(i + ½)·a/b − ½`, or `i·(a − 1)/(b − 1)`, of sizes b and a. */
export type Coordinates = "halfPixel" | "alignCorners";

/** Schema of {@link Coordinates}. */
export const coordinatesOption = z.enum(["halfPixel", "alignCorners"]).default("halfPixel");

/** Options of {@link resizeLogits}. */
export interface ResizeLogitsOptions {
  /** Default `halfPixel`, PyTorch's `align_corners=False`. */
  readonly coordinates?: Coordinates;
}

/**
 * Logits at another size, bilinear, computed in float64: how exits on coarser grids are compared with labels. Logits are
 * resized and softmax comes afterwards, never the other way round.
 *
 * @param logits float32 [n, k, h, w].
 * @param size [h', w'] of the result.
 * @returns float32 [n, k, h', w']; the logits themselves where the size is theirs.
 * @throws InputError on logits that are not finite or of another shape, a size that is not two whole numbers ≥ 1, or unknown options.
 * Source: ADP-C's code resizes logits bilinearly for loss and mIoU [S]; half-pixel centres are its `align_corners=False` [D].
 * @example
 * ```ts
 * import { tensor } from "@exitkit/core-gpu";
 * import { resizeLogits } from "@exitkit/cbt";
 * const { data } = resizeLogits(tensor("float32", [1, 1, 1, 2], [0, 1]), [1, 4]);
 * console.assert(data.join() === "0,0.25,0.75,1");
 * ```
 */
export function resizeLogits(
  logits: Logits,
  size: readonly [number, number],
  options: ResizeLogitsOptions = {},
): Logits {
  const caller = "cbt.resizeLogits";
  const { coordinates } = parseOptions(caller, z.strictObject({ coordinates: coordinatesOption }), options);
  checkLogits(caller, logits, null, "logits");
  if (!(Array.isArray(size) && size.length === 2 && size.every((side) => Number.isSafeInteger(side) && side >= 1))) {
    throw new InputError(caller, "size must be [h, w], whole numbers ≥ 1", JSON.stringify(size) ?? typeof size);
  }
  return resized(logits, size, coordinates);
}

/** {@link resizeLogits} of arguments that were checked before. */
export function resized(logits: Logits, [height, width]: readonly [number, number], coordinates: Coordinates): Logits {
  const [n, k, h, w] = logits.shape as [number, number, number, number];
  if (h === height && w === width) return logits;
  const rows = places(h, height, coordinates);
  const columns = places(w, width, coordinates);
  const data = new Float32Array(n * k * height * width);
  let at = 0;
  for (let plane = 0; plane < n * k; plane++) {
    for (let y = 0; y < height; y++) {
      const upper = (plane * h + rows.low[y]!) * w;
      const lower = (plane * h + rows.high[y]!) * w;
      const down = rows.share[y]!;
      for (let x = 0; x < width; x++) {
        const [left, right, across] = [columns.low[x]!, columns.high[x]!, columns.share[x]!];
        const top = logits.data[upper + left]! * (1 - across) + logits.data[upper + right]! * across;
        const bottom = logits.data[lower + left]! * (1 - across) + logits.data[lower + right]! * across;
        data[at++] = top * (1 - down) + bottom * down;
      }
    }
  }
  return { dtype: "float32", shape: [n, k, height, width], data };
}

/** For each new place the two old ones around it, and how much of the second there is in it. */
export function places(from: number, to: number, coordinates: Coordinates) {
  const low = new Int32Array(to);
  const high = new Int32Array(to);
  const share = new Float64Array(to);
  for (let i = 0; i < to; i++) {
    const straight = to === 1 ? 0 : (i * (from - 1)) / (to - 1);
    const at = coordinates === "alignCorners" ? straight : ((i + 0.5) * from) / to - 0.5;
    const inside = Math.min(Math.max(at, 0), from - 1);
    low[i] = Math.floor(inside);
    high[i] = Math.min(low[i]! + 1, from - 1);
    share[i] = inside - low[i]!;
  }
  return { low, high, share };
}

/** The class of the largest logit of every pixel, [n, h, w]; the first of equal ones. */
export function argMaxClasses({ shape, data }: Logits): Uint8Array {
  const [n, k, h, w] = shape as [number, number, number, number];
  const size = h * w;
  const classes = new Uint8Array(n * size);
  for (let frame = 0; frame < n; frame++) {
    const own = data.subarray(frame * k * size, (frame + 1) * k * size);
    const best = own.slice(0, size);
    for (let c = 1; c < k; c++) {
      for (let i = 0; i < size; i++) {
        const value = own[c * size + i]!;
        if (value <= best[i]!) continue;
        best[i] = value;
        classes[frame * size + i] = c;
      }
    }
  }
  return classes;
}
