import { InputError } from "@exitkit/core-gpu";
import type { Edition, Sums } from "./directory.ts";
import type { Pictures } from "./pictures.ts";

const caller = "bench.parseIdx";

/** "Unsigned bytes" and the number of dimensions, as the first four bytes of an idx file say them. */
const MAGIC = { images: 0x0803, labels: 0x0801 } as const;

/**
 * Takes the two files of MNIST's idx format apart: `…-images-idx3-ubyte` (2,051, n, rows, columns as big-endian 32-bit
 * numbers, then n · rows · columns bytes) and `…-labels-idx1-ubyte` (2,049, n, then n bytes).
 *
 * @param images Bytes of the first, with what they are called in error messages.
 * @param labels Bytes of the second.
 * @param classes Labels are 0 to `classes` − 1.
 * @returns The pictures, shape [1, rows, columns]; `pixels` shares the bytes of `images`.
 * @throws InputError when a file begins with another number, does not hold as many bytes as it says, the two hold another
 * number of pictures, or a label is out of range.
 * Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section "File formats".
 */
export function parseIdx(
  images: { readonly source: string; readonly bytes: Uint8Array },
  labels: { readonly source: string; readonly bytes: Uint8Array },
  classes: number,
): Pictures {
  const { sizes, values: pixels } = takeApart(images.source, images.bytes, "images");
  const { values } = takeApart(labels.source, labels.bytes, "labels");
  const [n, height, width] = sizes as [number, number, number];
  if (values.length !== n) {
    throw new InputError(
      caller,
      `${labels.source} must hold a label for each of the ${n.toLocaleString("en")} pictures of ${images.source}`,
      `${values.length.toLocaleString("en")} labels`,
      "The two files belong to different sets: fetch both again.",
    );
  }
  const wrong = values.findIndex((label) => label >= classes);
  if (wrong >= 0) {
    throw new InputError(
      caller,
      `${labels.source}: every label must be 0 to ${classes - 1}`,
      `${values[wrong]} at ${wrong}`,
      "The file is damaged or of another data set: fetch it again.",
    );
  }
  return { n, shape: [1, height, width], pixels, labels: Int32Array.from(values) };
}

function takeApart(source: string, bytes: Uint8Array, kind: keyof typeof MAGIC) {
  const dimensions = MAGIC[kind] & 0xff;
  const header = 4 + 4 * dimensions;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = bytes.length < 4 ? null : view.getUint32(0);
  if (magic !== MAGIC[kind]) {
    throw new InputError(
      caller,
      `${source} must be idx ${kind}, which begin with the number ${MAGIC[kind].toLocaleString("en")}`,
      magic === null ? `${bytes.length} bytes` : `${magic.toLocaleString("en")}`,
      "The file is damaged or of another format: fetch it again.",
    );
  }
  const read = (index: number) => (bytes.length < header ? 0 : view.getUint32(4 + 4 * index));
  const sizes = Array.from({ length: dimensions }, (_, index) => read(index));
  const wanted = header + sizes.reduce((product, size) => product * size, 1);
  if (bytes.length !== wanted || wanted === header) {
    throw new InputError(
      caller,
      `${source} must hold ${sizes.map((size) => size.toLocaleString("en")).join(" × ")} bytes after ${header}, and at least one`,
      `${bytes.length.toLocaleString("en")} bytes`,
      "The file is truncated or damaged: fetch it again.",
    );
  }
  return { sizes, values: bytes.subarray(header) };
}

/** The whole of a data set in MNIST's format: sums of its four files, training pictures, their labels, test pictures, their labels. */
export function idxEdition(name: string, sums: readonly Sums[string][]): Edition {
  const [images, labels, testImages, testLabels] = sums as [Sums[string], Sums[string], Sums[string], Sums[string]];
  return {
    name,
    complete: true,
    train: { "train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": labels },
    test: { "t10k-images-idx3-ubyte": testImages, "t10k-labels-idx1-ubyte": testLabels },
  };
}

/** Pictures and labels of ten classes, as MNIST and its relatives all have them. */
export function parseIdxFiles(files: readonly { readonly path: string; readonly bytes: Uint8Array }[]): Pictures {
  const [images, labels] = files.map(({ path, bytes }) => ({ source: path, bytes }));
  return parseIdx(images!, labels!, 10);
}
