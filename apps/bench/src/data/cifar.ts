import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { InputError } from "@exitkit/core-gpu";

/** Bytes of one 32×32 RGB picture: 1,024 red, then 1,024 green, then 1,024 blue values, row by row. */
export const PICTURE_BYTES = 3 * 32 * 32;

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

/** n labelled pictures of 32×32 RGB bytes. */
export interface Pictures {
  readonly n: number;
  /** [n, 3, 32, 32], 0 to 255. */
  readonly pixels: Uint8Array;
  /** [n], the class of each. */
  readonly labels: Int32Array;
}

/** A file that was read: its name without folder and `.gz`, and the sha256 (hex) of its uncompressed bytes. */
export interface DataFile {
  readonly name: string;
  readonly sha256: string;
}

const caller = "bench.readCifar";
const LARGEST_FILE = 512 * 1024 * 1024;

/**
 * Reads one file of the CIFAR binary version, plain or gzip (told by its first two bytes).
 *
 * @param file Path of the file.
 * @param layout {@link CIFAR10} or {@link CIFAR100}.
 * @returns The pictures, and the file's name and the sha256 of its uncompressed bytes.
 * @throws InputError when the file cannot be read, its gzip stream is truncated or damaged, it does not hold a whole number
 * (≥ 1) of records, or a label is out of range; the message names the file, the value and what to do.
 */
export async function readCifar(file: string, layout: CifarLayout): Promise<{ pictures: Pictures; file: DataFile }> {
  const stored = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new InputError(caller, `${file} must be readable`, error.code ?? error.message, "Check the path.", error);
  });
  const bytes = await uncompressed(file, stored);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return { pictures: parseCifar(file, bytes, layout), file: { name: basename(file).replace(/\.gz$/, ""), sha256 } };
}

/**
 * Takes the records of a CIFAR binary file apart.
 *
 * @param source What the bytes are called in error messages.
 * @throws InputError as {@link readCifar}.
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
  return { n, pixels, labels };
}

/** All pictures of several parts as one. */
export function concatPictures(parts: readonly Pictures[]): Pictures {
  const first = parts[0];
  if (first !== undefined && parts.length === 1) return first;
  const n = parts.reduce((sum, part) => sum + part.n, 0);
  const pixels = new Uint8Array(n * PICTURE_BYTES);
  const labels = new Int32Array(n);
  let row = 0;
  for (const part of parts) {
    pixels.set(part.pixels, row * PICTURE_BYTES);
    labels.set(part.labels, row);
    row += part.n;
  }
  return { n, pixels, labels };
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
  return {
    n: to - from,
    pixels: pictures.pixels.subarray(from * PICTURE_BYTES, to * PICTURE_BYTES),
    labels: pictures.labels.subarray(from, to),
  };
}

/** The pictures of the given rows, in that order, copied. */
export function selectPictures(pictures: Pictures, rows: ArrayLike<number>): Pictures {
  const n = rows.length;
  const pixels = new Uint8Array(n * PICTURE_BYTES);
  const labels = new Int32Array(n);
  for (let at = 0; at < n; at++) {
    const one = slicePictures(pictures, rows[at]!, rows[at]! + 1);
    pixels.set(one.pixels, at * PICTURE_BYTES);
    labels[at] = one.labels[0]!;
  }
  return { n, pixels, labels };
}

async function uncompressed(file: string, stored: Uint8Array): Promise<Uint8Array> {
  const compressed = stored[0] === 0x1f && stored[1] === 0x8b;
  if (!compressed) {
    if (!file.endsWith(".gz")) return stored;
    throw new InputError(
      caller,
      `${file} must be a gzip file, as its name says`,
      stored.length === 0 ? "an empty file" : `a file that begins with bytes ${stored[0]}, ${stored[1] ?? "(end)"}`,
      "Fetch it again, or drop the .gz from its name.",
    );
  }
  return promisify(gunzip)(stored, { maxOutputLength: LARGEST_FILE }).catch((error: NodeJS.ErrnoException) => {
    const actual =
      error.code === "Z_BUF_ERROR"
        ? `a truncated one (${stored.length.toLocaleString("en")} bytes)`
        : error.code === "ERR_BUFFER_TOO_LARGE"
          ? `one that unpacks to more than ${LARGEST_FILE / 1024 / 1024} MiB`
          : `a damaged one (${error.message})`;
    throw new InputError(caller, `${file} must be a whole gzip stream`, actual, "Fetch the file again.", error);
  });
}
