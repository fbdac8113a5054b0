import { InputError } from "@exitkit/core-gpu";
import { concatPictures, type PictureShape, type Pictures, pictureBytes } from "./pictures.ts";

/** 1,024 red, then 1,024 green, then 1,024 blue values, row by row. */
export const CIFAR_SHAPE: PictureShape = [3, 32, 32];

/** Bytes of one picture. */
export const PICTURE_BYTES: number = pictureBytes({ shape: CIFAR_SHAPE });

/** How a record of the CIFAR binary version begins: the names and ranges of its label bytes, the class last. */
export interface CifarLayout {
  readonly title: string;
  /** Label bytes before the pixels: one for CIFAR-10, coarse and fine for CIFAR-100. The last is the class. */
  readonly labels: readonly { readonly name: string; readonly classes: number }[];
}

/** CIFAR-10: 3,073 bytes a record. */
export const CIFAR10: CifarLayout = { title: "CIFAR-10", labels: [{ name: "label", classes: 10 }] };

/** CIFAR-100: 3,074 bytes a record. */
export const CIFAR100: CifarLayout = {
  title: "CIFAR-100",
  labels: [
    { name: "coarse label", classes: 20 },
    { name: "fine label", classes: 100 },
  ],
};

const caller = "bench.readCifar";

/**
 * Takes the records of a CIFAR binary file apart.
 *
 * @param source What the bytes are called in error messages.
 * @throws InputError when they are not a whole number (≥ 1) of records, or a label is out of range; the message names the value.
 */
export function parseCifar(source: string, bytes: Uint8Array, layout: CifarLayout): Pictures {
  const width = layout.labels.length + PICTURE_BYTES;
  const n = Math.floor(bytes.length / width);
  if (n === 0 || n * width !== bytes.length) {
    throw new InputError(
      caller,
      `${source} must hold a whole number of ${layout.title} records of ${width.toLocaleString("en")} bytes`,
      `${bytes.length.toLocaleString("en")} bytes = ${n.toLocaleString("en")} records and ${bytes.length - n * width} bytes`,
      "The file is truncated or of another layout: fetch it again.",
    );
  }
  const pixels = new Uint8Array(n * PICTURE_BYTES);
  const labels = new Int32Array(n);
  for (let row = 0; row < n; row++) {
    const at = row * width;
    layout.labels.forEach(({ name, classes }, index) => {
      const label = bytes[at + index]!;
      if (label >= classes) {
        throw new InputError(
          caller,
          `${source}: every ${name} must be 0 to ${classes - 1}`,
          `${label} in record ${row} (byte ${at + index})`,
          `The file is damaged or is not ${layout.title} in the binary version: fetch it again.`,
        );
      }
      labels[row] = label;
    });
    const begin = at + layout.labels.length;
    pixels.set(bytes.subarray(begin, begin + PICTURE_BYTES), row * PICTURE_BYTES);
  }
  return { n, shape: CIFAR_SHAPE, pixels, labels };
}

/** The records of several files as one set of pictures. */
export function parseCifarFiles(layout: CifarLayout) {
  return (files: readonly { readonly path: string; readonly bytes: Uint8Array }[]): Pictures =>
    concatPictures(files.map(({ path, bytes }) => parseCifar(path, bytes, layout)));
}
