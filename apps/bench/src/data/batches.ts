import { InputError, type Tensor } from "@exitkit/core-gpu";
import { PNG } from "pngjs";
import { PICTURE_BYTES, type Pictures } from "./cifar.ts";

/** A batch of normalised pictures `x` float32 [n, 3, 32, 32] and their classes `y` [n]. */
export interface Batch {
  readonly x: Tensor<"float32">;
  readonly y: Int32Array;
}

/** How pixel values become network inputs: channel value / 255, minus the mean, divided by the deviation. */
export interface Normalisation {
  readonly mean: readonly [number, number, number];
  readonly deviation: readonly [number, number, number];
}

/** The normalisation of the bundled CIFAR-10 networks. */
export const NORMALISATION: Normalisation = { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] };

/**
 * Pictures as normalised float32 batches, in order, the last one possibly smaller.
 *
 * x = (value / 255 − mean) / deviation for each channel, every step rounded to float32 as PyTorch does, so that the inputs
 * are bit-equal to its own. The two buffers of a batch are recycled: `x` and `y` hold their values only until the next
 * batch is asked for; copy what must live longer.
 *
 * @param size Pictures a batch, ≥ 1.
 * @throws InputError when `size` is not a whole number ≥ 1.
 */
export function batches(
  pictures: Pictures,
  size: number,
  normalisation: Normalisation = NORMALISATION,
): AsyncIterable<Batch> {
  if (!Number.isSafeInteger(size) || size < 1) {
    throw new InputError("bench.batches", "size must be a whole number ≥ 1", String(size));
  }
  return {
    async *[Symbol.asyncIterator]() {
      const width = Math.min(size, pictures.n);
      const x = new Float32Array(width * PICTURE_BYTES);
      const y = new Int32Array(width);
      const table = lookup(normalisation);
      for (let from = 0; from < pictures.n; from += size) {
        const n = Math.min(size, pictures.n - from);
        fill(x, pictures.pixels, from, n, table);
        y.set(pictures.labels.subarray(from, from + n));
        yield {
          x: { dtype: "float32", shape: [n, 3, 32, 32], data: x.subarray(0, n * PICTURE_BYTES) },
          y: y.subarray(0, n),
        };
      }
    },
  };
}

/** All pictures as one batch with buffers of its own. */
export function oneBatch(pictures: Pictures, normalisation: Normalisation = NORMALISATION): Batch {
  const data = new Float32Array(pictures.n * PICTURE_BYTES);
  fill(data, pictures.pixels, 0, pictures.n, lookup(normalisation));
  return { x: { dtype: "float32", shape: [pictures.n, 3, 32, 32], data }, y: pictures.labels.slice() };
}

/** One picture as the data URI of a 32×32 PNG. */
export function pictureDataUri(pictures: Pictures, row: number): string {
  const png = new PNG({ width: 32, height: 32 });
  const begin = row * PICTURE_BYTES;
  for (let pixel = 0; pixel < 1024; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      png.data[4 * pixel + channel] = pictures.pixels[begin + 1024 * channel + pixel]!;
    }
    png.data[4 * pixel + 3] = 255;
  }
  return `data:image/png;base64,${PNG.sync.write(png, { colorType: 2 }).toString("base64")}`;
}

/** Normalised value of every byte value in every channel: [3][256]. */
export function lookup({ mean, deviation }: Normalisation): readonly Float32Array[] {
  const { fround } = Math;
  return mean.map((_, channel) =>
    Float32Array.from({ length: 256 }, (_, value) => {
      const scaled = fround(value / 255);
      return fround(fround(scaled - fround(mean[channel]!)) / fround(deviation[channel]!));
    }),
  );
}

function fill(x: Float32Array, pixels: Uint8Array, from: number, n: number, table: readonly Float32Array[]): void {
  let to = 0;
  let at = from * PICTURE_BYTES;
  for (let row = 0; row < n; row++) {
    for (const values of table) {
      for (let pixel = 0; pixel < 1024; pixel++) x[to++] = values[pixels[at++]!]!;
    }
  }
}
