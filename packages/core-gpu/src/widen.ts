import type { Tensor } from "./tensor.ts";

/** Data of a wider dtype. */
export type Widened = Pick<Tensor<"float32">, "dtype" | "data"> | Pick<Tensor<"int32">, "dtype" | "data">;

/** Little-endian IEEE half precision: 5 bits of exponent, 10 of fraction. */
export function float16(bytes: DataView): Widened {
  const data = new Float32Array(bytes.byteLength / 2);
  for (let at = 0; at < data.length; at++) data[at] = halves[bytes.getUint16(2 * at, true)]!;
  return { dtype: "float32", data };
}

/** Little-endian bfloat16: the upper half of a float32's bits. */
export function bfloat16(bytes: DataView): Widened {
  const bits = new Uint32Array(bytes.byteLength / 2);
  for (let at = 0; at < bits.length; at++) bits[at] = bytes.getUint16(2 * at, true) << 16;
  return { dtype: "float32", data: new Float32Array(bits.buffer) };
}

export function int8(bytes: DataView): Widened {
  return { dtype: "int32", data: Int32Array.from({ length: bytes.byteLength }, (_, at) => bytes.getInt8(at)) };
}

export function int16(bytes: DataView): Widened {
  return {
    dtype: "int32",
    data: Int32Array.from({ length: bytes.byteLength / 2 }, (_, at) => bytes.getInt16(2 * at, true)),
  };
}

export function uint16(bytes: DataView): Widened {
  return {
    dtype: "int32",
    data: Int32Array.from({ length: bytes.byteLength / 2 }, (_, at) => bytes.getUint16(2 * at, true)),
  };
}

/** The value of every half: there are only 65,536. */
const halves = Float32Array.from({ length: 65_536 }, (_, bits) => {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? 2 ** -14 * fraction : 2 ** (exponent - 15) * (1 + fraction));
});
