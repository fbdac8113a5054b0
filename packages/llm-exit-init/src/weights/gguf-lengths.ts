import type { FileHandle } from "node:fs/promises";

/** Bytes of the scalar types by their numbers in the file; strings are 8 and lists 9. */
const SCALARS: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};
const STRING = 8;
const LIST = 9;
/** Lists in lists. */
const DEEPEST = 4;
/** Bytes that are read at first; twice as many each time that they do not do. */
const FIRST = 2 ** 20;

/**
 * Goes over the keys and values of a GGUF file before the library does, which takes what lies behind the file's end for zeros and makes
 * lists of them: no text and no list may be longer than what is left of the file. What is no GGUF file is left to the library to refuse.
 *
 * @throws Error naming the length that does not fit.
 */
export async function checkLengths(file: FileHandle, size: number): Promise<void> {
  for (let taken = FIRST; ; taken *= 2) {
    const bytes = Buffer.alloc(Math.min(taken, size));
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    if (walked(bytes.subarray(0, bytesRead), size) || bytesRead < taken || taken >= size) return;
  }
}

/** @returns false where more of the file is needed. */
function walked(bytes: Buffer, size: number): boolean {
  if (bytes.length < 24 || bytes.toString("latin1", 0, 4) !== "GGUF") return true;
  const version = bytes.readUInt32LE(4);
  if (version !== 2 && version !== 3) return true;
  const left = (at: number, wanted: bigint, what: string): number => {
    if (wanted > BigInt(Math.max(0, size - at)))
      throw new Error(`a ${what} of ${wanted} bytes or more where ${Math.max(0, size - at)} are left`);
    return Number(wanted);
  };
  let at = 24;
  const text = (): void => {
    const length = bytes.readBigUInt64LE(at);
    at += 8 + left(at + 8, length, "text");
  };
  const value = (type: number, depth: number): void => {
    if (type === STRING) text();
    else if (type === LIST) list(depth);
    else at += SCALARS[type] ?? 0;
  };
  const list = (depth: number): void => {
    const of = bytes.readUInt32LE(at);
    const count = bytes.readBigUInt64LE(at + 4);
    at += 12;
    const each = of === STRING ? 8 : of === LIST ? 12 : (SCALARS[of] ?? 1);
    const whole = left(at, count * BigInt(each), "list");
    if (of !== STRING && of !== LIST) {
      at += whole;
      return;
    }
    if (depth === DEEPEST) throw new Error(`lists in lists, more than ${DEEPEST} deep`);
    for (let index = 0; index < count; index++) value(of, depth + 1);
  };
  left(at, bytes.readBigUInt64LE(8) * 24n, "list of tensors");
  const keys = bytes.readBigUInt64LE(16);
  left(at, keys * 13n, "list of keys");
  try {
    for (let key = 0; key < keys; key++) {
      text();
      const type = bytes.readUInt32LE(at);
      at += 4;
      if (type !== STRING && type !== LIST && SCALARS[type] === undefined) return true;
      value(type, 1);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    if (bytes.length >= size) throw new Error(`${size} bytes, fewer than its header says`);
    return false;
  }
  return true;
}
