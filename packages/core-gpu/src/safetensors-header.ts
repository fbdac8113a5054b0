import { z } from "zod";
import { clipped, type InputError } from "./errors.ts";

/** One tensor of a safetensors header; `begin` and `end` count bytes from the end of the header. */
export interface HeaderEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** Bits an element takes, for every dtype the format defines. */
const bits: Readonly<Record<string, number>> = {
  ...{ BOOL: 8, U8: 8, I8: 8, I16: 16, U16: 16, F16: 16, BF16: 16, I32: 32, U32: 32, F32: 32, I64: 64, U64: 64 },
  ...{ F64: 64, C64: 64, F4: 4, F6_E2M3: 6, F6_E3M2: 6, F8_E5M2: 8, F8_E4M3: 8, F8_E8M0: 8 },
  ...{ F8_E4M3FNUZ: 8, F8_E5M2FNUZ: 8 },
};

/** Dimensions a tensor may have, read or written; NumPy and PyTorch allow 64, ONNX Runtime's kernels fewer. */
export const maxRank = 32;

const count = z.int().min(0);
// Other fields are left alone, as the reference reader does.
const entrySchema = z.object({
  dtype: z.string(),
  shape: z.array(count).max(maxRank),
  data_offsets: z.tuple([count, count]),
});

/**
 * Reads and checks the header of a safetensors file: everything the format demands that does not depend on the data.
 *
 * @param fail Makes the error from what was found.
 * @param fileBytes Size of the file, where `bytes` are only its beginning, the header included.
 */
export function parseHeader(
  bytes: Uint8Array,
  maxHeaderBytes: number,
  fail: (actual: string) => InputError,
  fileBytes = bytes.byteLength,
): { entries: readonly HeaderEntry[]; metadata: Record<string, string>; dataStart: number } {
  if (bytes.byteLength < 8) throw fail(`${bytes.byteLength} bytes, fewer than the 8 of the header's length`);
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(maxHeaderBytes)) throw fail(`a header of ${length} bytes, more than ${maxHeaderBytes}`);
  const dataStart = 8 + Number(length);
  if (dataStart > fileBytes) throw fail(`a header of ${length} bytes in a file of ${fileBytes}`);

  const header = parseJson(bytes.subarray(8, dataStart), fail);
  const entries = Object.entries(header)
    .filter(([name]) => name !== "__metadata__")
    .map(([name, value]) => checkedEntry(name, value, fail))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkCoverage(entries, fileBytes - dataStart, fail);

  const metadata = (Object.hasOwn(header, "__metadata__") ? header.__metadata__ : null) ?? {};
  if (!isStrings(metadata)) throw fail("a __metadata__ that does not map strings to strings");
  return { entries, metadata, dataStart };
}

function parseJson(bytes: Uint8Array, fail: (actual: string) => InputError): Readonly<Record<string, unknown>> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw fail("a header that is not UTF-8");
  }
  if (!text.startsWith("{")) throw fail(`a header that starts with ${JSON.stringify(text.charAt(0))}, not "{"`);
  let header: Readonly<Record<string, unknown>>;
  try {
    header = JSON.parse(text);
  } catch (error) {
    throw fail(`a header that is not JSON (${clipped(error instanceof Error ? error.message : String(error))})`);
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) throw fail(`a header with the key "${clipped(twice)}" twice`);
  return header;
}

function isStrings(value: unknown): value is Record<string, string> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((text) => typeof text === "string");
}

function checkedEntry(given: string, value: unknown, fail: (actual: string) => InputError): HeaderEntry {
  const name = clipped(given);
  const parsed = entrySchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw fail(`tensor "${name}" whose ${issue.path.join(".") || "entry"} is wrong: ${issue.message}`);
  }
  const {
    dtype,
    shape,
    data_offsets: [begin, end],
  } = parsed.data;
  const width = Object.hasOwn(bits, dtype) ? bits[dtype] : undefined;
  if (width === undefined) throw fail(`tensor "${name}" of dtype ${clipped(dtype)}, which the format does not know`);
  const described = `tensor "${name}" of dtype ${dtype} and shape [${shape.join(", ")}]`;
  // The product in whole numbers: a damaged shape must not overflow into one that fits.
  const needed = shape.includes(0) ? 0 : shape.reduce((size, dimension) => size * dimension, width);
  if (!Number.isSafeInteger(needed)) throw fail(`${described}, more than any file holds`);
  if (end < begin || needed % 8 !== 0 || needed / 8 !== end - begin) {
    const wanted = needed % 8 === 0 ? needed / 8 : `${needed}/8`;
    throw fail(`${described} with bytes ${begin} to ${end}, where it needs ${wanted}`);
  }
  return { name: given, dtype, shape, begin, end };
}

function checkCoverage(entries: readonly HeaderEntry[], size: number, fail: (actual: string) => InputError): void {
  let at = 0;
  for (const { name, begin, end } of entries) {
    if (begin !== at) {
      throw fail(
        `tensor "${clipped(name)}" that starts at byte ${begin} where ${at} bytes are taken (${gap(begin, at)})`,
      );
    }
    at = end;
  }
  if (at !== size) throw fail(`${size} bytes of data where the tensors take ${at}`);
}

const gap = (begin: number, at: number): string => (begin > at ? "a gap" : "an overlap");

/**
 * The first key that occurs twice in one object of a valid JSON text: JSON.parse keeps the last one silently. One pass by
 * hand, as an expression over strings of any length would run out of stack.
 */
function duplicateKey(text: string): string | undefined {
  const objects: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === "{") objects.push(new Set());
    else if (character === "[") objects.push(undefined);
    else if (character === "}" || character === "]") objects.pop();
    else if (character === '"') {
      const end = endOfString(text, at);
      const keys = objects.at(-1);
      if (keys !== undefined && nextIsColon(text, end + 1)) {
        const key: string = JSON.parse(text.slice(at, end + 1));
        if (keys.has(key)) return key;
        keys.add(key);
      }
      at = end;
    }
  }
  return undefined;
}

/** Where the string that begins at `start` has its closing quotation mark. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at;
}

function nextIsColon(text: string, from: number): boolean {
  let at = from;
  while (text[at] === " " || text[at] === "\n" || text[at] === "\r" || text[at] === "\t") at++;
  return text[at] === ":";
}
