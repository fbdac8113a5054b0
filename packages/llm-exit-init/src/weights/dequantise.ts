/** A number format of GGUF tensors: blocks of elements that share scales. */
interface BlockFormat {
  readonly name: string;
  /** Elements of a block. */
  readonly elements: number;
  /** Bytes of a block. */
  readonly bytes: number;
  /** Writes a block that begins at byte `from` of `bytes` to `out` from element `to`. */
  readonly read: (bytes: DataView, from: number, out: Float32Array, to: number) => void;
}

/** Half precision: 5 bits of exponent, 10 of fraction. */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? 2 ** -14 * fraction : 2 ** (exponent - 15) * (1 + fraction));
}

const halfAt = (bytes: DataView, at: number): number => half(bytes.getUint16(at, true));

const formats = {
  float32: {
    name: "F32",
    elements: 1,
    bytes: 4,
    read(bytes, from, out, to) {
      out[to] = bytes.getFloat32(from, true);
    },
  },
  float16: {
    name: "F16",
    elements: 1,
    bytes: 2,
    read(bytes, from, out, to) {
      out[to] = halfAt(bytes, from);
    },
  },
  bfloat16: {
    name: "BF16",
    elements: 1,
    bytes: 2,
    read(bytes, from, out, to) {
      scratch.setUint32(0, bytes.getUint16(from, true) << 16);
      out[to] = scratch.getFloat32(0);
    },
  },
  /** d · q, q signed 8 bits. */
  q8_0: {
    name: "Q8_0",
    elements: 32,
    bytes: 34,
    read(bytes, from, out, to) {
      const d = halfAt(bytes, from);
      for (let i = 0; i < 32; i++) out[to + i] = d * bytes.getInt8(from + 2 + i);
    },
  },
  /** d · (q − 8); low nibbles are elements 0 … 15, high ones 16 … 31. */
  q4_0: {
    name: "Q4_0",
    elements: 32,
    bytes: 18,
    read(bytes, from, out, to) {
      const d = halfAt(bytes, from);
      for (let i = 0; i < 16; i++) {
        const pair = bytes.getUint8(from + 2 + i);
        out[to + i] = d * ((pair & 15) - 8);
        out[to + 16 + i] = d * ((pair >> 4) - 8);
      }
    },
  },
  /** d · q + m; nibbles as in Q4_0. */
  q4_1: {
    name: "Q4_1",
    elements: 32,
    bytes: 20,
    read(bytes, from, out, to) {
      const d = halfAt(bytes, from);
      const m = halfAt(bytes, from + 2);
      for (let i = 0; i < 16; i++) {
        const pair = bytes.getUint8(from + 4 + i);
        out[to + i] = Math.fround(d * (pair & 15)) + m;
        out[to + 16 + i] = Math.fround(d * (pair >> 4)) + m;
      }
    },
  },
  /** Eight groups of 32 with 6-bit scale and minimum each: (d · scale) · q − (dmin · min). */
  q4_k: {
    name: "Q4_K",
    elements: 256,
    bytes: 144,
    read(bytes, from, out, to) {
      const d = halfAt(bytes, from);
      const least = halfAt(bytes, from + 2);
      for (let group = 0; group < 8; group++) {
        const { scale, minimum } = sixBits(bytes, from + 4, group);
        const factor = Math.fround(d * scale);
        const offset = Math.fround(least * minimum);
        const pairs = from + 16 + 32 * (group >> 1);
        const shift = group % 2 === 0 ? 0 : 4;
        for (let i = 0; i < 32; i++) {
          out[to + 32 * group + i] = Math.fround(factor * ((bytes.getUint8(pairs + i) >> shift) & 15)) - offset;
        }
      }
    },
  },
  /** Sixteen groups of 16 with a signed 8-bit scale each: (d · scale) · (q − 32), 4 low bits and 2 high bits apart. */
  q6_k: {
    name: "Q6_K",
    elements: 256,
    bytes: 210,
    read(bytes, from, out, to) {
      const d = halfAt(bytes, from + 208);
      for (let i = 0; i < 256; i++) {
        const [part, within] = [i >> 7, i & 127];
        const low = (bytes.getUint8(from + 64 * part + (within & 63)) >> (within < 64 ? 0 : 4)) & 15;
        const high = (bytes.getUint8(from + 128 + 32 * part + (within & 31)) >> (2 * (within >> 5))) & 3;
        const factor = Math.fround(d * bytes.getInt8(from + 192 + (i >> 4)));
        out[to + i] = factor * ((low | (high << 4)) - 32);
      }
    },
  },
} as const satisfies Readonly<Record<string, BlockFormat>>;

const scratch = new DataView(new ArrayBuffer(4));

/** The 6-bit scale and minimum of a group, of eight each in 12 bytes. */
function sixBits(bytes: DataView, at: number, group: number): { readonly scale: number; readonly minimum: number } {
  const byte = (index: number) => bytes.getUint8(at + index);
  if (group < 4) return { scale: byte(group) & 63, minimum: byte(group + 4) & 63 };
  return {
    scale: (byte(group + 4) & 15) | ((byte(group - 4) >> 6) << 4),
    minimum: (byte(group + 4) >> 4) | ((byte(group) >> 6) << 4),
  };
}

/** By the numbers that files state. */
const byNumber: ReadonlyMap<number, BlockFormat> = new Map<number, BlockFormat>([
  [0, formats.float32],
  [1, formats.float16],
  [2, formats.q4_0],
  [3, formats.q4_1],
  [8, formats.q8_0],
  [12, formats.q4_k],
  [14, formats.q6_k],
  [30, formats.bfloat16],
]);

/** Names of the formats that can be read. */
export const readableFormats: readonly string[] = [...byNumber.values()].map(({ name }) => name);

/** Bytes that elements take in a format of this number; null where it is not known or they do not fill blocks. */
export function bytesOf(format: number, elements: number): number | null {
  const found = byNumber.get(format);
  return found === undefined || elements % found.elements !== 0 ? null : (elements / found.elements) * found.bytes;
}

/** A tensor's elements as float32. */
export function dequantise(format: number, bytes: Uint8Array): Float32Array<ArrayBuffer> {
  const { elements, bytes: width, read } = byNumber.get(format)!;
  const blocks = bytes.byteLength / width;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = new Float32Array(blocks * elements);
  for (let block = 0; block < blocks; block++) read(view, block * width, out, block * elements);
  return out;
}
