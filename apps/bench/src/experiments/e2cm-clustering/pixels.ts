import { type Tensor, tensor, type training } from "@exitkit/core-gpu";
import { type Pictures, pictureBytes } from "../../data/pictures.ts";

/** The given pictures as rows of float32 numbers in [0, 1], [rows, c·h·w]. */
export function pixelRows(pictures: Pictures, rows: ArrayLike<number>): Tensor<"float32"> {
  const d = pictureBytes(pictures);
  const x = tensor("float32", [rows.length, d]);
  for (let at = 0; at < rows.length; at++) {
    const from = rows[at]! * d;
    for (let i = 0; i < d; i++) x.data[at * d + i] = pictures.pixels[from + i]! / 255;
  }
  return x;
}

/** The pictures for a training loop or for `training.predict`, as input `x`. */
export function pixelDataset(pictures: Pictures): training.Dataset {
  return { size: pictures.n, batch: (indices) => ({ x: pixelRows(pictures, indices) }) };
}

/**
 * The pictures in order, as batches with a label each.
 *
 * @param onBatch Called with the number of pictures of a batch that was used.
 */
export async function* labelledBatches(
  pictures: Pictures,
  labels: Int32Array,
  size: number,
  onBatch?: (n: number) => void,
): AsyncGenerator<{ readonly x: Tensor<"float32">; readonly y: Int32Array }> {
  for (let from = 0; from < pictures.n; from += size) {
    const y = labels.subarray(from, Math.min(from + size, pictures.n));
    yield {
      x: pixelRows(
        pictures,
        Int32Array.from(y, (_, at) => from + at),
      ),
      y,
    };
    onBatch?.(y.length);
  }
}
