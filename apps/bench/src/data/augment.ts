import { type Generator, InputError, type Tensor } from "@exitkit/core-gpu";
import { lookup, NORMALISATION, type Normalisation } from "./batches.ts";
import { PICTURE_BYTES, type Pictures } from "./cifar.ts";

/** Pixels of black around a picture before it is cropped, the usual number for CIFAR. */
const PADDING = 4;
const SIDE = 32;

/** A batch of a training step: `x` float32 [n, 3, 32, 32] normalised, `y` int64 [n]. */
interface TrainingBatch {
  readonly x: Tensor<"float32">;
  readonly y: Tensor<"int64">;
  readonly [name: string]: Tensor;
}

/** Pictures as a training loop takes them. */
export interface PictureDataset {
  readonly size: number;
  batch(indices: Int32Array, random: Generator): TrainingBatch;
}

/**
 * Pictures to train on with the usual augmentation of CIFAR: a random 32×32 crop of the picture with 4 black pixels on
 * every side, mirrored half of the time, then normalised. Three numbers are drawn for every picture: how far down, how far
 * right, whether mirrored.
 *
 * Source: He et al., "Deep Residual Learning for Image Recognition", 2015, section 4.2.
 */
export function augmentedPictures(pictures: Pictures, normalisation: Normalisation = NORMALISATION): PictureDataset {
  const table = lookup(normalisation);
  return {
    size: pictures.n,
    batch(indices, random) {
      const n = indices.length;
      const x = new Float32Array(n * PICTURE_BYTES);
      const y = new BigInt64Array(n);
      indices.forEach((row, at) => {
        if (!(row >= 0 && row < pictures.n)) {
          throw new InputError("bench.augmentedPictures", `every index must be 0 to ${pictures.n - 1}`, `${row}`);
        }
        const down = random.integer(2 * PADDING + 1) - PADDING;
        const right = random.integer(2 * PADDING + 1) - PADDING;
        const mirrored = random.integer(2) === 1;
        crop(x, at * PICTURE_BYTES, pictures.pixels, row * PICTURE_BYTES, { down, right, mirrored }, table);
        y[at] = BigInt(pictures.labels[row]!);
      });
      return {
        x: { dtype: "float32", shape: [n, 3, 32, 32], data: x },
        y: { dtype: "int64", shape: [n], data: y },
      };
    },
  };
}

function crop(
  x: Float32Array,
  to: number,
  pixels: Uint8Array,
  from: number,
  { down, right, mirrored }: { readonly down: number; readonly right: number; readonly mirrored: boolean },
  table: readonly Float32Array[],
): void {
  let at = to;
  for (const [channel, values] of table.entries()) {
    const black = values[0]!;
    for (let row = down; row < SIDE + down; row++) {
      if (row < 0 || row >= SIDE) {
        x.fill(black, at, at + SIDE);
        at += SIDE;
        continue;
      }
      const line = from + channel * SIDE * SIDE + row * SIDE;
      for (let column = 0; column < SIDE; column++) {
        const source = (mirrored ? SIDE - 1 - column : column) + right;
        x[at++] = source < 0 || source >= SIDE ? black : values[pixels[line + source]!]!;
      }
    }
  }
}
