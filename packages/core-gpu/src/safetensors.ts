import { type FileHandle, open, readFile, stat } from "node:fs/promises";
import { z } from "zod";
import { checkArguments } from "./arguments.ts";
import { clipped, InputError } from "./errors.ts";
import { fileError, writeFileAtomic } from "./files.ts";
import { parseOptions } from "./options.ts";
import { type HeaderEntry, maxRank, parseHeader } from "./safetensors-header.ts";
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
  const caller = "core-gpu.readSafetensors";
  const { source } = parseOptions(caller, z.strictObject({ source: z.string().optional() }), options);
  return decode(caller, bytes, source);
}

/** Files from this size on are read by ranges: more than Node reads at once. */
const READ_WHOLE = 2 ** 31 - 1;

/**
 * Reads a safetensors file; see {@link readSafetensors}. With `only`, and files of 2 GiB or more, are read by ranges; tensors that
 * are not asked for are not read, and their dtypes are not looked at.
 *
 * @param options `only`: names of the tensors that are wanted. Default: all.
 * @throws InputError when the file cannot be read or is not valid, or has no tensor of a name.
 */
export async function readSafetensorsFile(
  path: string,
  options: { readonly only?: readonly string[] } = {},
): Promise<Safetensors> {
  const caller = "core-gpu.readSafetensorsFile";
  checkArguments(caller, { path: [path, "a string"] });
  const { only } = parseOptions(caller, z.strictObject({ only: z.array(z.string()).readonly().optional() }), options);
  try {
    if (only === undefined && (await stat(path)).size < READ_WHOLE) return decode(caller, await readFile(path), path);
  } catch (error) {
    throw error instanceof InputError ? error : fileError(caller, "read", path, error);
  }
  const file = await openFile(caller, path);
  try {
    const tensors: [string, Tensor][] = [];
    for (const name of only ?? file.shapes.keys()) tensors.push([name, await file.read(name)]);
    return { tensors: Object.fromEntries(tensors), metadata: { ...file.metadata } };
  } finally {
    await file.close();
  }
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
  checkArguments(caller, { tensors: [tensors, "an object"], metadata: [metadata, "an object"] });
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
  checkArguments("core-gpu.writeSafetensorsFile", {
    path: [path, "a string"],
    tensors: [tensors, "an object"],
    metadata: [metadata, "an object"],
  });
  await writeFileAtomic(path, writeSafetensors(tensors, metadata));
}

/** A safetensors file of which tensors are read one at a time. */
export interface OpenSafetensors {
  /** For every tensor its shape, by name. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** The file's `__metadata__`; empty if it has none. */
  readonly metadata: Readonly<Record<string, string>>;
  /** One tensor, read now. @throws InputError on an unknown name, a dtype without a host tensor, or where reading fails. */
  read(name: string): Promise<Tensor>;
  /** Closes the file. */
  close(): Promise<void>;
}

/**
 * Opens a safetensors file and reads its header alone; tensors are read when they are asked for, so a file larger than memory,
 * or than the 2 GiB that Node reads at once, can be read in parts. See {@link readSafetensors}.
 *
 * @throws InputError when the file cannot be read or is not valid.
 */
export async function openSafetensorsFile(path: string): Promise<OpenSafetensors> {
  const caller = "core-gpu.openSafetensorsFile";
  checkArguments(caller, { path: [path, "a string"] });
  return openFile(caller, path);
}

async function openFile(caller: string, path: string): Promise<OpenSafetensors> {
  const fail = failing(caller, path);
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    const { size } = await file.stat();
    const read = async (from: number, count: number): Promise<Uint8Array<ArrayBuffer>> => {
      const bytes = new Uint8Array(count);
      for (let at = 0; at < count; ) {
        const { bytesRead } = await file!.read(bytes, at, Math.min(count - at, 2 ** 30), from + at);
        if (bytesRead === 0) throw fail(`a file that ends at byte ${from + at}`);
        at += bytesRead;
      }
      return bytes;
    };
    const start = await read(0, Math.min(8, size));
    const length = start.byteLength < 8 ? 0n : new DataView(start.buffer).getBigUint64(0, true);
    const whole = length > BigInt(Math.min(maxHeaderBytes, size - 8)) ? start : await read(0, 8 + Number(length));
    const { entries, metadata, dataStart } = parseHeader(whole, maxHeaderBytes, fail, size);
    const byName = new Map(entries.map((entry) => [entry.name, entry]));
    return {
      shapes: new Map(entries.map(({ name, shape }) => [name, shape])),
      metadata,
      async read(name) {
        const entry = byName.get(name);
        if (entry === undefined) throw fail(`no tensor "${clipped(name)}"`, "Ask for one of its shapes' names.");
        try {
          return tensorOf(entry, await read(dataStart + entry.begin, entry.end - entry.begin), fail);
        } catch (error) {
          throw error instanceof InputError ? error : fileError(caller, "read", path, error);
        }
      },
      close: () => file!.close(),
    };
  } catch (error) {
    await file?.close();
    throw error instanceof InputError ? error : fileError(caller, "read", path, error);
  }
}

type Fail = (actual: string, fix?: string) => InputError;

function failing(caller: string, source: string | undefined): Fail {
  return (actual, fix = "The file is cut short, damaged or another format; fetch or save it again.") =>
    new InputError(caller, `${source ?? "the bytes"} must be a valid safetensors file`, actual, fix);
}

function decode(caller: string, bytes: Uint8Array, source: string | undefined): Safetensors {
  const fail = failing(caller, source);
  if (!(bytes instanceof Uint8Array)) throw fail(bytes === null ? "null" : typeof bytes, "Pass a Uint8Array.");
  const { entries, metadata, dataStart } = parseHeader(bytes, maxHeaderBytes, fail);
  const tensors = entries.map((entry): [string, Tensor] => {
    return [entry.name, tensorOf(entry, bytes.subarray(dataStart + entry.begin, dataStart + entry.end), fail)];
  });
  return { tensors: Object.fromEntries(tensors), metadata };
}

/** An entry's tensor from its bytes. */
function tensorOf({ name, dtype: code, shape }: HeaderEntry, bytes: Uint8Array, fail: Fail): Tensor {
  const dtype = (dtypes as Readonly<Record<string, DType>>)[code];
  if (dtype !== undefined) {
    const made = viewOf(bytes, dtype, shape);
    const odd = dtype === "bool" ? made.data.find((value) => value > 1) : undefined;
    if (odd !== undefined) throw fail(`tensor "${clipped(name)}" of dtype BOOL with a byte ${odd}`);
    return made;
  }
  const widen = (widened as Readonly<Record<string, (bytes: DataView) => Widened>>)[code];
  if (widen === undefined) {
    const supported = `Convert it first; supported are ${[...codes, ...Object.keys(widened)].join(", ")}.`;
    throw fail(`tensor "${clipped(name)}" of dtype ${code}, which is not supported here`, supported);
  }
  return { ...widen(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)), shape } as Tensor;
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
