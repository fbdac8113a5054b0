import { endianness } from "node:os";
import { InputError } from "@exitkit/core-gpu";

/** An array as an npy file holds it, brought to row-major order. */
export interface NpyArray {
  readonly shape: readonly number[];
  readonly data: NpyData;
}

type NpyData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

const KINDS = {
  f4: Float32Array,
  f8: Float64Array,
  i1: Int8Array,
  u1: Uint8Array,
  b1: Uint8Array,
  i2: Int16Array,
  u2: Uint16Array,
  i4: Int32Array,
  u4: Uint32Array,
  i8: BigInt64Array,
  u8: BigUint64Array,
} as const;

/**
 * Reads an npy file: floats, whole numbers and booleans of any byte order, C or Fortran order.
 *
 * @throws InputError where it is no npy file of these, or cut short.
 * Source: NumPy Enhancement Proposal 1, versions 1.0 to 3.0.
 */
export function parseNpy(caller: string, source: string, bytes: Uint8Array): NpyArray {
  const refuse = (actual: string): never => {
    throw new InputError(caller, `${source} must be an npy file of numbers`, actual);
  };
  if (bytes.length < 10 || MAGIC.some((byte, i) => bytes[i] !== byte)) return refuse("another kind of file");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const major = bytes[6]!;
  if (major < 1 || major > 3) return refuse(`version ${major}`);
  const from = major === 1 ? 10 : 12;
  if (bytes.length < from) return refuse("a file that is cut short");
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (bytes.length < from + length) return refuse("a file that is cut short");
  const header = new TextDecoder("latin1").decode(bytes.subarray(from, from + length));
  const kind = /'descr':\s*'([<>|=])([a-z]\d)'/.exec(header);
  const order = /'fortran_order':\s*(True|False)/.exec(header);
  const shapeText = /'shape':\s*\(([\d,\sL]*)\)/.exec(header);
  if (kind === null || order === null || shapeText === null) return refuse(`the header ${header.trim().slice(0, 80)}`);
  const Kind = (KINDS as Partial<Record<string, (typeof KINDS)[keyof typeof KINDS]>>)[kind[2]!];
  if (Kind === undefined) return refuse(`elements of type ${kind[2]}`);
  const shape = shapeText[1]!
    .split(",")
    .map((text) => text.trim().replace(/L$/, ""))
    .filter((text) => text !== "")
    .map(Number);
  const size = shape.reduce((product, one) => product * one, 1);
  const width = Kind.BYTES_PER_ELEMENT;
  const content = new Uint8Array(bytes.subarray(from + length));
  if (content.byteLength !== size * width) {
    return refuse(`${content.byteLength} bytes for shape [${shape.join(", ")}] of ${width} bytes each`);
  }
  const isLittle = endianness() === "LE";
  if (width > 1 && ((kind[1] === ">" && isLittle) || (kind[1] === "<" && !isLittle))) swap(content, width);
  const data = new Kind(content.buffer, 0, size);
  return { shape, data: order[1] === "True" ? rowMajor(data, shape) : data };
}

function swap(bytes: Uint8Array, width: number): void {
  for (let at = 0; at < bytes.length; at += width) bytes.subarray(at, at + width).reverse();
}

/** Elements whose first index runs fastest, as ones whose last does. */
function rowMajor(data: NpyData, shape: readonly number[]): NpyData {
  if (shape.length < 2) return data;
  const made = data.slice() as Float64Array;
  const strides = shape.map((_, axis) => shape.slice(0, axis).reduce((product, size) => product * size, 1));
  const index = shape.map(() => 0);
  for (let to = 0; to < data.length; to++) {
    made[to] = (data as Float64Array)[index.reduce((at, i, axis) => at + i * strides[axis]!, 0)]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]!++;
      if (index[axis]! < shape[axis]!) break;
      index[axis] = 0;
    }
  }
  return made;
}

/** Whole numbers as an npy file: little-endian int64 [n], what NumPy indexes with. */
export function npyOf(ids: Int32Array): Uint8Array {
  const dict = `{'descr': '<i8', 'fortran_order': False, 'shape': (${ids.length},), }`;
  const padded = `${dict.padEnd(Math.ceil((dict.length + 11) / 64) * 64 - 11)}\n`;
  const bytes = new Uint8Array(10 + padded.length + 8 * ids.length);
  bytes.set([...MAGIC, 1, 0]);
  const view = new DataView(bytes.buffer);
  view.setUint16(8, padded.length, true);
  bytes.set(new TextEncoder().encode(padded), 10);
  ids.forEach((id, i) => {
    view.setBigInt64(10 + padded.length + 8 * i, BigInt(id), true);
  });
  return bytes;
}
