import { type Generator, InputError, type Tensor } from "@exitkit/core-gpu";
import { lookup, NORMALISATION, type Normalisation } from "./normalisation.ts";
import { type PictureShape, type Pictures, pictureBytes } from "./pictures.ts";

/** How training pictures are varied. */
export interface Augmentation {
  /** Pixels of black around a picture before it is cropped to its own size. */
  readonly padding: number;
  /** Whether half of the pictures are mirrored; digits and letters must not be. */
  readonly mirror: boolean;
}

/** The usual augmentation of CIFAR. */
export const CIFAR_AUGMENTATION: Augmentation = { padding: 4, mirror: true };

/** A batch of a training step: `x` float32 [n, c, h, w] normalised, `y` int64 [n]. */
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
 * Pictures to train on, varied: a random crop, of the picture's own size, of the picture with black pixels on every side,
 * mirrored half of the time, then normalised. Three numbers are drawn for every picture: how far down, how far right,
 * whether mirrored (two where nothing is mirrored).
 *
 * Source: He et al., "Deep Residual Learning for Image Recognition", 2015, section 4.2.
 */
export function augmentedPictures(
  pictures: Pictures,
  normalisation: Normalisation = NORMALISATION,
  { padding, mirror }: Augmentation = CIFAR_AUGMENTATION,
): PictureDataset {
  const { shape } = pictures;
  const table = lookup(normalisation, shape[0]);
  const size = pictureBytes(pictures);
  return {
    size: pictures.n,
    batch(indices, random) {
      const n = indices.length;
      const x = new Float32Array(n * size);
      const y = new BigInt64Array(n);
      indices.forEach((row, at) => {
        if (!(row >= 0 && row < pictures.n)) {
          throw new InputError("bench.augmentedPictures", `every index must be 0 to ${pictures.n - 1}`, `${row}`);
        }
        const down = random.integer(2 * padding + 1) - padding;
        const right = random.integer(2 * padding + 1) - padding;
        const mirrored = mirror && random.integer(2) === 1;
        crop(x, at * size, pictures.pixels, row * size, shape, { down, right, mirrored }, table);
        y[at] = BigInt(pictures.labels[row]!);
      });
      return {
        x: { dtype: "float32", shape: [n, ...shape], data: x },
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
  [, height, width]: PictureShape,
  { down, right, mirrored }: { readonly down: number; readonly right: number; readonly mirrored: boolean },
  table: readonly Float32Array[],
): void {
  let at = to;
  for (const [channel, values] of table.entries()) {
    const black = values[0]!;
    for (let row = down; row < height + down; row++) {
      if (row < 0 || row >= height) {
        x.fill(black, at, at + width);
        at += width;
        continue;
      }
      const line = from + channel * height * width + row * width;
      for (let column = 0; column < width; column++) {
        const source = (mirrored ? width - 1 - column : column) + right;
        x[at++] = source < 0 || source >= width ? black : values[pixels[line + source]!]!;
      }
    }
  }
}
