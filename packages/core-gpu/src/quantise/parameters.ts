import { roundEven } from "./rounding.ts";

/** Whole numbers that a quantised tensor may hold: both ends included. */
export interface Levels {
  readonly low: number;
  readonly high: number;
}

/** The element types of quantised activations. */
export type ActivationType = "uint8" | "int8";

/** Levels of activations. */
export const activationLevels: Readonly<Record<ActivationType, Levels>> = {
  uint8: { low: 0, high: 255 },
  int8: { low: -128, high: 127 },
};

/** How whole numbers stand for real ones: real = (whole − zeroPoint) · scale. */
export interface Parameters {
  /** Positive, a float32. */
  readonly scale: number;
  readonly zeroPoint: number;
}

/** Values between which a tensor lies. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

/** Below this a scale is no normal float32. */
const SMALLEST = 2 ** -126;

/**
 * Scale and zero point of activations in a range: the range is widened to hold zero, scale = (max − min) ÷ (high − low), and
 * zeroPoint = round(low − min ÷ scale), so that zero is a whole number and padding stays zero. A tensor that is always
 * zero gets scale 1 and zero point 0.
 *
 * Source: onnxruntime's quantiser, `compute_scale_zp` [S].
 */
export function activationParameters({ min, max }: Range, type: ActivationType): Parameters {
  const { low, high } = activationLevels[type];
  const from = Math.min(min, 0);
  const to = Math.max(max, 0);
  const scale = (to - from) / (high - low);
  if (scale < SMALLEST) return { scale: 1, zeroPoint: 0 };
  return { scale: Math.fround(scale), zeroPoint: roundEven(low - from / scale) };
}

/** A weight as whole numbers, one scale for each channel (or one in all), zero point 0. */
export interface QuantisedWeight {
  readonly codes: Int8Array;
  /** [channels], positive float32s. */
  readonly scales: Float32Array;
}

/** Which channel an element of a row-major weight belongs to: (index ÷ inner) mod channels. */
export interface Channels {
  readonly count: number;
  /** Elements between two of neighbouring channels: the product of the dimensions behind the channels' axis. */
  readonly inner: number;
}

/**
 * Rounds weights symmetrically, channel by channel: scale = largest magnitude ÷ (2^(bits − 1) − 1). A channel of zeros gets the
 * largest scale of the others (1 where all are zero), for its bias is rounded to that scale.
 *
 * With 7 bits the magnitudes reach 63: 2 · 255 · 63 = 32,130 fits the 16 bits in which processors without VNNI add two
 * products; 2 · 255 · 127 = 64,770 does not.
 *
 * Source: onnxruntime's quantiser, symmetric int8 weights [S]. Differs: its reduced range is −64…64, 2 · 255 · 64 = 32,640; its
 * channels of zeros get scale 1.
 */
export function quantiseWeight(weight: Float32Array, { count, inner }: Channels, bits: 7 | 8): QuantisedWeight {
  const limit = 2 ** (bits - 1) - 1;
  const largest = new Float64Array(count);
  weight.forEach((value, index) => {
    const channel = Math.floor(index / inner) % count;
    largest[channel] = Math.max(largest[channel]!, Math.abs(value));
  });
  const scales = Float32Array.from(largest, (magnitude) => Math.fround(magnitude / limit));
  const fallback = scales.reduce((most, scale) => Math.max(most, scale), 0);
  scales.forEach((scale, channel) => {
    if (scale < SMALLEST) scales[channel] = fallback < SMALLEST ? 1 : fallback;
  });
  const codes = Int8Array.from(weight, (value, index) => {
    const code = roundEven(value / scales[Math.floor(index / inner) % count]!);
    return Math.max(-limit, Math.min(limit, code));
  });
  return { codes, scales };
}

/**
 * Biases as whole numbers at the scale of the products, input's scale · weights' scale of the channel; undefined where one does
 * not fit 32 bits.
 */
export function quantiseBias(
  bias: Float32Array | Float64Array,
  inputScale: number,
  weightScales: Float32Array,
): { readonly codes: Int32Array; readonly scales: Float32Array } | undefined {
  const scales = Float32Array.from(
    bias,
    (_, channel) => inputScale * weightScales[weightScales.length === 1 ? 0 : channel]!,
  );
  const codes = Array.from(bias, (value, channel) => roundEven(value / scales[channel]!));
  if (!codes.every((code) => code >= -(2 ** 31) && code < 2 ** 31)) return undefined;
  return { codes: Int32Array.from(codes), scales };
}
