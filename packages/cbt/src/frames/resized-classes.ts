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
 * The class of the largest logit of every pixel of a frame, logits resized bilinearly (half pixels): the first of equal ones.
 *
 * Pixels between the same four places are answered together. Where these have one class it is the pixels' too, as resized logits are means
 * of theirs; else a class whose largest logit there is below another's smallest is left out, and only the others are resized.
 *
 * @param size [h', w'] of the frame.
 * @returns [h'·w'].
 */
export function resizedClasses(plane: LogitsPlane, [height, width]: readonly [number, number]): Uint8Array {
  const { classes: k, grid } = plane;
  const [h, w] = grid;
  const data = plane.layout === "rows" ? plane.data : rowsOf(plane);
  const best = argMaxOfRows(data, k);
  if (h === height && w === width) return best;
  const [rows, columns] = [places(h, height, "halfPixel"), places(w, width, "halfPixel")];
  const [rowRuns, columnRuns] = [runs(rows.low), runs(columns.low)];
  const found = new Uint8Array(height * width);
  const candidates = new Uint8Array(k);
  for (let down = 0; down + 1 < rowRuns.length; down++) {
    const [top, bottom] = [rowRuns[down]!, rowRuns[down + 1]!];
    const [upper, lower] = [rows.low[top]! * w, rows.high[top]! * w];
    for (let across = 0; across + 1 < columnRuns.length; across++) {
      const [left, right] = [columnRuns[across]!, columnRuns[across + 1]!];
      const [near, far] = [columns.low[left]!, columns.high[left]!];
      const own = best[upper + near]!;
      if (own === best[upper + far] && own === best[lower + near] && own === best[lower + far]) {
        if (own === 0) continue;
        for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) found[y * width + x] = own;
        continue;
      }
      const [a, b, c, d] = [(upper + near) * k, (upper + far) * k, (lower + near) * k, (lower + far) * k];
      const count = possible(data, k, a, b, c, d, candidates);
      for (let y = top; y < bottom; y++) {
        const below = rows.share[y]!;
        for (let x = left; x < right; x++) {
          const beside = columns.share[x]!;
          let largest = Number.NEGATIVE_INFINITY;
          for (let at = 0; at < count; at++) {
            const one = candidates[at]!;
            const first = data[a + one]! * (1 - beside) + data[b + one]! * beside;
            const second = data[c + one]! * (1 - beside) + data[d + one]! * beside;
            const value = Math.fround(first * (1 - below) + second * below);
            if (value <= largest) continue;
            largest = value;
            found[y * width + x] = one;
          }
        }
      }
    }
  }
  return found;
}

function rowsOf({ data, classes: k, grid: [h, w] }: LogitsPlane): Float32Array {
  const rows = new Float32Array(data.length);
  for (let one = 0; one < k; one++) {
    for (let at = 0, plane = one * h * w; at < h * w; at++) rows[at * k + one] = data[plane + at]!;
  }
  return rows;
}

function argMaxOfRows(data: Float32Array, k: number): Uint8Array {
  const best = new Uint8Array(data.length / k);
  for (let at = 0, row = 0; at < best.length; at++, row += k) {
    let largest = data[row]!;
    for (let one = 1; one < k; one++) {
      if (data[row + one]! <= largest) continue;
      largest = data[row + one]!;
      best[at] = one;
    }
  }
  return best;
}

/** Which classes can have the largest logit between four rows, rising; how many. */
function possible(
  data: Float32Array,
  k: number,
  a: number,
  b: number,
  c: number,
  d: number,
  candidates: Uint8Array,
): number {
  let bound = Number.NEGATIVE_INFINITY;
  for (let one = 0; one < k; one++) {
    const least = Math.min(Math.min(data[a + one]!, data[b + one]!), Math.min(data[c + one]!, data[d + one]!));
    if (least > bound) bound = least;
  }
  let count = 0;
  for (let one = 0; one < k; one++) {
    const reaches = data[a + one]! >= bound || data[b + one]! >= bound || data[c + one]! >= bound;
    if (reaches || data[d + one]! >= bound) candidates[count++] = one;
  }
  return count;
}

/** Where new places begin to lie between other old ones, and their number behind the last. */
function runs(low: Int32Array): readonly number[] {
  const begins: number[] = [];
  for (let at = 0; at < low.length; at++) if (at === 0 || low[at] !== low[at - 1]) begins.push(at);
  return [...begins, low.length];
}
