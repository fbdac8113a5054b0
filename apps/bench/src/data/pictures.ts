import { InputError } from "@exitkit/core-gpu";

/** Channels, height and width of a picture. */
export type PictureShape = readonly [channels: number, height: number, width: number];

/** n labelled pictures of one size. */
export interface Pictures {
  readonly n: number;
  /** [c, h, w]: [3, 32, 32] for CIFAR, [1, 28, 28] for MNIST and its relatives. */
  readonly shape: PictureShape;
  /** [n, c, h, w], 0 to 255. */
  readonly pixels: Uint8Array;
  /** [n], the class of each. */
  readonly labels: Int32Array;
}

/** Bytes of one picture: c · h · w. */
export function pictureBytes({ shape: [channels, height, width] }: Pick<Pictures, "shape">): number {
  return channels * height * width;
}

/**
 * All pictures of several parts as one.
 *
 * @throws InputError when there is no part, or two parts have pictures of another size.
 */
export function concatPictures(parts: readonly Pictures[]): Pictures {
  const caller = "bench.concatPictures";
  const [first] = parts;
  if (first === undefined) throw new InputError(caller, "there must be at least one part", "none");
  if (parts.length === 1) return first;
  const odd = parts.find(({ shape }) => shape.join() !== first.shape.join());
  if (odd !== undefined) {
    const actual = `[${first.shape.join(", ")}] and [${odd.shape.join(", ")}]`;
    throw new InputError(caller, "all parts must have pictures of one shape [c, h, w]", actual);
  }
  const n = parts.reduce((sum, part) => sum + part.n, 0);
  const size = pictureBytes(first);
  const pixels = new Uint8Array(n * size);
  const labels = new Int32Array(n);
  let row = 0;
  for (const part of parts) {
    pixels.set(part.pixels, row * size);
    labels.set(part.labels, row);
    row += part.n;
  }
  return { n, shape: first.shape, pixels, labels };
}

/**
 * Pictures `from` (included) to `to` (excluded), as a view that shares the bytes.
 *
 * @throws InputError when the range does not lie within the pictures.
 */
export function slicePictures(pictures: Pictures, from: number, to: number): Pictures {
  if (!(Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from <= to && to <= pictures.n)) {
    throw new InputError("bench.slicePictures", `0 ≤ from ≤ to ≤ ${pictures.n}`, `${from} to ${to}`);
  }
  const size = pictureBytes(pictures);
  return {
    n: to - from,
    shape: pictures.shape,
    pixels: pictures.pixels.subarray(from * size, to * size),
    labels: pictures.labels.subarray(from, to),
  };
}

/** The pictures of the given rows, in that order, copied. */
export function selectPictures(pictures: Pictures, rows: ArrayLike<number>): Pictures {
  const n = rows.length;
  const size = pictureBytes(pictures);
  const pixels = new Uint8Array(n * size);
  const labels = new Int32Array(n);
  for (let at = 0; at < n; at++) {
    const one = slicePictures(pictures, rows[at]!, rows[at]! + 1);
    pixels.set(one.pixels, at * size);
    labels[at] = one.labels[0]!;
  }
  return { n, shape: pictures.shape, pixels, labels };
}
