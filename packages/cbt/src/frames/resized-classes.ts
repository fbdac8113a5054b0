import { places } from "./resize-logits.ts";

/** Logits of a plane, however they lie in memory. */
interface LogitsPlane {
  readonly data: Float32Array;
  /** k. */
  readonly classes: number;
  /** [h, w]. */
  readonly grid: readonly [number, number];
  /** Rows [h·w, k], or planes [k, h·w]. */
  readonly layout: "rows" | "planes";
}

/**
 * The class of the largest logit of every pixel of a frame, logits resized bilinearly (half pixels): the first of equal ones. Where the four
 * places around a pixel have one class it is the pixel's too, as resized logits are means of theirs: only the others are resized.
 *
 * @param size [h', w'] of the frame.
 * @returns [h'·w'].
 */
export function resizedClasses(
  { data, classes, grid: [h, w], layout }: LogitsPlane,
  [height, width]: readonly [number, number],
): Uint8Array {
  const [perPlace, perClass] = layout === "rows" ? [classes, 1] : [1, h * w];
  const best = new Uint8Array(h * w);
  for (let at = 0; at < best.length; at++) {
    let largest = data[at * perPlace]!;
    for (let c = 1; c < classes; c++) {
      const value = data[at * perPlace + c * perClass]!;
      if (value <= largest) continue;
      largest = value;
      best[at] = c;
    }
  }
  if (h === height && w === width) return best;
  const [rows, columns] = [places(h, height, "halfPixel"), places(w, width, "halfPixel")];
  const found = new Uint8Array(height * width);
  let at = 0;
  for (let y = 0; y < height; y++) {
    const [upper, lower, down] = [rows.low[y]! * w, rows.high[y]! * w, rows.share[y]!];
    for (let x = 0; x < width; x++) {
      const left = columns.low[x]!;
      const right = columns.high[x]!;
      const own = best[upper + left]!;
      if (own === best[upper + right] && own === best[lower + left] && own === best[lower + right]) {
        found[at++] = own;
        continue;
      }
      const across = columns.share[x]!;
      const [a, b] = [(upper + left) * perPlace, (upper + right) * perPlace];
      const [c, d] = [(lower + left) * perPlace, (lower + right) * perPlace];
      let largest = Number.NEGATIVE_INFINITY;
      let answer = 0;
      for (let k = 0, plane = 0; k < classes; k++, plane += perClass) {
        const top = data[a + plane]! * (1 - across) + data[b + plane]! * across;
        const bottom = data[c + plane]! * (1 - across) + data[d + plane]! * across;
        const value = Math.fround(top * (1 - down) + bottom * down);
        if (value <= largest) continue;
        largest = value;
        answer = k;
      }
      found[at++] = answer;
    }
  }
  return found;
}
