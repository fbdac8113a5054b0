import { readFile } from "node:fs/promises";
import { clipped, InputError } from "./errors.ts";
import { fileError, writeFileAtomic } from "./files.ts";
import { maxRank, parseHeader } from "./safetensors-header.ts";
import type { DType, Tensor } from "./tensor.ts";
import { bytesPerElement, sizeOf, tensor } from "./tensor.ts";
import { bfloat16, float16, int8, int16, uint16, type Widened } from "./widen.ts";

/** What a safetensors file holds. */
export interface Safetensors {
  readonly tensors: Record<string, Tensor>;
  /** The file's `__metadata__`; empty if it has none. */
  readonly metadata: Record<string, string>;
}

/** The format's dtype names that have a host tensor, in the order in which the reference writer lays tensors out. */
const dtypes = { I64: "int64", F64: "float64", F32: "float32", I32: "int32", U8: "uint8", BOOL: "bool" } as const;
const codes = Object.keys(dtypes) as (keyof typeof dtypes)[];

/** The format's narrower dtypes, and what they are widened to: every number is kept exactly. */
const widened = { F16: float16, BF16: bfloat16, I8: int8, I16: int16, U16: uint16 } as const;

/** The reference reader refuses longer headers. */
const maxHeaderBytes = 100_000_000;

/**
 * Decodes a safetensors file: named tensors and a few strings about them. The format: 8 bytes with the length of a JSON
 * header (little-endian), the header, then the tensors' bytes without gaps.
 *
 * The tensors' data are views into `bytes` (so do not change it afterwards), except where they would not be aligned to
 * their element size and are copied. Narrower numbers are widened, exactly: F16 and BF16 to float32; I8, I16 and U16 to int32.
 *
 * @param options `source`: where the bytes come from, for error messages.
 * @throws InputError on whatever the format forbids: a header that is cut short, too long, not JSON, or names something
 * twice; an unknown or unsupported dtype (supported: F16, BF16, F32, F64, I8, I16, U16, I32, I64, U8, BOOL); byte ranges that overlap, leave
 * gaps, run past the end or do not fit the shape; bools other than 0 and 1.
 * @example
 * ```ts
 * import { readSafetensors, tensor, writeSafetensors } from "@exitkit/core-gpu";
 * const bytes = writeSafetensors({ weight: tensor("float32", [2], [1, 2]) }, { epoch: "3" });
 * const { tensors, metadata } = readSafetensors(bytes);
 * console.assert(tensors.weight?.data[1] === 2 && metadata.epoch === "3");
 * ```
 */
export function readSafetensors(bytes: Uint8Array, options: { readonly source?: string } = {}): Safetensors {
  return decode("core-gpu.readSafetensors", bytes, options.source);
}

/**
 * Reads a safetensors file; see {@link readSafetensors}.
 *
 * @throws InputError when the file cannot be read or is not valid.
 */
export async function readSafetensorsFile(path: string): Promise<Safetensors> {
  const caller = "core-gpu.readSafetensorsFile";
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw fileError(caller, "read", path, error);
  }
  return decode(caller, bytes, path);
}

/**
 * Encodes tensors as a safetensors file, laid out as the reference library does it (larger elements first, then by
 * name; header padded to a multiple of 8 bytes), so equal tensors give equal bytes.
 *
 * @throws InputError on a tensor named `__metadata__`, a name that is not valid Unicode, metadata that are not strings,
 * or a tensor whose data do not fit its shape and dtype.
 */
export function writeSafetensors(
  tensors: Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const caller = "core-gpu.writeSafetensors";
  const entries = Object.entries(tensors).map(([name, value]) => checkedEntry(caller, name, value));
  entries.sort((a, b) => codes.indexOf(a.code) - codes.indexOf(b.code) || (a.name < b.name ? -1 : 1));

  const fields: string[] = [];
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== "string") {
      throw new InputError(caller, `metadata "${key}" must be a string`, typeof value, "Encode it, e.g. as JSON.");
    }
  }
  if (Object.keys(metadata).length > 0) fields.push(`"__metadata__":${JSON.stringify(metadata)}`);
  let end = 0;
  for (const { name, code, value } of entries) {
    const begin = end;
    end += value.data.byteLength;
    fields.push(
      `${JSON.stringify(name)}:{"dtype":"${code}","shape":[${value.shape.join(",")}],"data_offsets":[${begin},${end}]}`,
    );
  }
  const text = new TextEncoder().encode(`{${fields.join(",")}}`);
  const header = Math.ceil(text.length / 8) * 8;
  if (header > maxHeaderBytes) {
    throw new InputError(caller, `names and metadata must fit into ${maxHeaderBytes} bytes`, `${header} bytes`);
  }
  const bytes = new Uint8Array(8 + header + end).fill(0x20, 8 + text.length, 8 + header);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header), true);
  bytes.set(text, 8);
  let at = 8 + header;
  for (const { value } of entries) {
    bytes.set(new Uint8Array(value.data.buffer, value.data.byteOffset, value.data.byteLength), at);
    at += value.data.byteLength;
  }
  return bytes;
}

/**
 * Writes tensors to a safetensors file, atomically: after a crash the file is the old one or the new one.
 *
 * @throws InputError as {@link writeSafetensors}, or when the file cannot be written.
 */
export async function writeSafetensorsFile(
  path: string,
  tensors: Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  await writeFileAtomic(path, writeSafetensors(tensors, metadata));
}

function decode(caller: string, bytes: Uint8Array, source: string | undefined): Safetensors {
  const file = source ?? "the bytes";
  const fail = (actual: string, fix = "The file is cut short, damaged or another format; fetch or save it again.") =>
    new InputError(caller, `${file} must be a valid safetensors file`, actual, fix);
  if (!(bytes instanceof Uint8Array)) throw fail(bytes === null ? "null" : typeof bytes, "Pass a Uint8Array.");
  const { entries, metadata, dataStart } = parseHeader(bytes, maxHeaderBytes, fail);

  const tensors: [string, Tensor][] = entries.map(({ name, dtype: code, shape, begin, end }) => {
    const content = bytes.subarray(dataStart + begin, dataStart + end);
    const dtype = (dtypes as Readonly<Record<string, DType>>)[code];
    if (dtype !== undefined) return [name, viewOf(content, dtype, shape)];
    const widen = (widened as Readonly<Record<string, (bytes: DataView) => Widened>>)[code];
    if (widen === undefined) {
      const supported = `Convert it first; supported are ${[...codes, ...Object.keys(widened)].join(", ")}.`;
      throw fail(`tensor "${clipped(name)}" of dtype ${code}, which is not supported here`, supported);
    }
    const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
    return [name, { ...widen(view), shape } as Tensor];
  });
  for (const [name, { dtype, data }] of tensors) {
    const odd = dtype === "bool" ? data.find((value) => value > 1) : undefined;
    if (odd !== undefined) throw fail(`tensor "${clipped(name)}" of dtype BOOL with a byte ${odd}`);
  }
  return { tensors: Object.fromEntries(tensors), metadata };
}

function viewOf(bytes: Uint8Array, dtype: DType, shape: readonly number[]): Tensor {
  const aligned = bytes.byteOffset % bytesPerElement(dtype) === 0 ? bytes : new Uint8Array(bytes);
  const from = [aligned.buffer, aligned.byteOffset, aligned.byteLength / bytesPerElement(dtype)] as const;
  const views = {
    float32: () => new Float32Array(...from),
    float64: () => new Float64Array(...from),
    int32: () => new Int32Array(...from),
    int64: () => new BigInt64Array(...from),
    uint8: () => new Uint8Array(...from),
    bool: () => new Uint8Array(...from),
  };
  return { dtype, shape, data: views[dtype]() } as Tensor;
}

function checkedEntry(caller: string, name: string, value: Tensor) {
  if (name === "__metadata__") {
    throw new InputError(caller, 'no tensor may be named "__metadata__"', "one that is", "Rename it.");
  }
  if (/\p{Surrogate}/u.test(name)) {
    throw new InputError(
      caller,
      "names must be valid Unicode",
      `half a surrogate pair in ${JSON.stringify(clipped(name))}`,
    );
  }
  try {
    tensor(value.dtype, value.shape, value.data);
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    throw new InputError(
      caller,
      `"${clipped(name)}" must be a tensor`,
      `one that is not (${problem})`,
      undefined,
      error,
    );
  }
  if (value.shape.length > maxRank) {
    throw new InputError(caller, `"${clipped(name)}" must have at most ${maxRank} dimensions`, `${value.shape.length}`);
  }
  const code = codes.find((key) => dtypes[key] === value.dtype)!;
  return { name, code, value, size: sizeOf(value.shape) };
}
