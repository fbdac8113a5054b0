import { InputError, type Tensor } from "@exitkit/core-gpu";
import { PNG } from "pngjs";
import { lookup, NORMALISATION, type Normalisation } from "./normalisation.ts";
import { type Pictures, pictureBytes } from "./pictures.ts";

/** A batch of normalised pictures `x` float32 [n, c, h, w] and their classes `y` [n]. */
export interface Batch {
  readonly x: Tensor<"float32">;
  readonly y: Int32Array;
}

/**
 * Pictures as normalised float32 batches, in order, the last one possibly smaller.
 *
 * x = (value / 255 − mean) / deviation for each channel, every step rounded to float32 as PyTorch does, so that the inputs
 * are bit-equal to its own. The two buffers of a batch are recycled: `x` and `y` hold their values only until the next
 * batch is asked for; copy what must live longer.
 *
 * @param size Pictures a batch, ≥ 1.
 * @throws InputError when `size` is not a whole number ≥ 1, or `normalisation` is for another number of channels.
 */
export function batches(
  pictures: Pictures,
  size: number,
  normalisation: Normalisation = NORMALISATION,
): AsyncIterable<Batch> {
  if (!Number.isSafeInteger(size) || size < 1) {
    throw new InputError("bench.batches", "size must be a whole number ≥ 1", String(size));
  }
  const { shape, labels } = pictures;
  const table = lookup(normalisation, shape[0]);
  const bytes = pictureBytes(pictures);
  return {
    async *[Symbol.asyncIterator]() {
      const width = Math.min(size, pictures.n);
      const x = new Float32Array(width * bytes);
      const y = new Int32Array(width);
      for (let from = 0; from < pictures.n; from += size) {
        const n = Math.min(size, pictures.n - from);
        fill(x, pictures, from, n, table);
        y.set(labels.subarray(from, from + n));
        yield { x: { dtype: "float32", shape: [n, ...shape], data: x.subarray(0, n * bytes) }, y: y.subarray(0, n) };
      }
    },
  };
}

/** All pictures as one batch with buffers of its own. */
export function oneBatch(pictures: Pictures, normalisation: Normalisation = NORMALISATION): Batch {
  const { n, shape, labels } = pictures;
  const data = new Float32Array(n * pictureBytes(pictures));
  fill(data, pictures, 0, n, lookup(normalisation, shape[0]));
  return { x: { dtype: "float32", shape: [n, ...shape], data }, y: labels.slice() };
}

/** One picture as the data URI of a PNG of its size; a single channel becomes grey. */
export function pictureDataUri(pictures: Pictures, row: number): string {
  const [channels, height, width] = pictures.shape;
  const png = new PNG({ width, height });
  const begin = row * pictureBytes(pictures);
  const area = height * width;
  for (let pixel = 0; pixel < area; pixel++) {
    for (let colour = 0; colour < 3; colour++) {
      png.data[4 * pixel + colour] = pictures.pixels[begin + area * Math.min(colour, channels - 1) + pixel]!;
    }
    png.data[4 * pixel + 3] = 255;
  }
  return `data:image/png;base64,${PNG.sync.write(png, { colorType: 2 }).toString("base64")}`;
}

function fill(x: Float32Array, pictures: Pictures, from: number, n: number, table: readonly Float32Array[]): void {
  const { pixels, shape } = pictures;
  const area = shape[1] * shape[2];
  let to = 0;
  let at = from * pictureBytes(pictures);
  for (let row = 0; row < n; row++) {
    for (const values of table) {
      for (let pixel = 0; pixel < area; pixel++) x[to++] = values[pixels[at++]!]!;
    }
  }
}
