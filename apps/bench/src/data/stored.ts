import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { InputError } from "@exitkit/core-gpu";

/** A file that was read: its name without folder and `.gz`, and the sha256 (hex) of its uncompressed bytes. */
export interface DataFile {
  readonly name: string;
  readonly sha256: string;
}

/** What a file of a data set holds. */
export interface StoredFile {
  /** Uncompressed. */
  readonly bytes: Uint8Array;
  readonly file: DataFile;
  /** The sha256 (hex) of the gzip file as it lies there; null for a plain one. */
  readonly gzip: string | null;
}

const caller = "bench.readData";
const LARGEST_FILE = 512 * 1024 * 1024;

/**
 * Reads a file of a data set, plain or gzip (told by its first two bytes).
 *
 * @throws InputError when the file cannot be read, or its gzip stream is truncated or damaged; the message names the file and
 * what to do.
 */
export async function readStored(file: string): Promise<StoredFile> {
  const stored = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new InputError(caller, `${file} must be readable`, error.code ?? error.message, "Check the path.", error);
  });
  return storedFile(file, stored);
}

/** The same of bytes that do not lie in `file`, or not yet. */
export async function storedFile(file: string, stored: Uint8Array): Promise<StoredFile> {
  const bytes = await uncompressed(file, stored);
  return {
    bytes,
    file: { name: basename(file).replace(/\.gz$/, ""), sha256: sha256(bytes) },
    gzip: bytes === stored ? null : sha256(stored),
  };
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
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
