/** Bins of a {@link Histogram}, half of them below zero. */
export const BINS = 8192;

/**
 * Counts of the values a tensor took, over [−2^exponent, 2^exponent] in {@link BINS} equal bins; least and greatest are exact.
 * It streams: a value beyond the limits doubles them and joins bins in pairs, so memory does not grow with the data. As all
 * limits are powers of two, the histograms of two shards merge into the histogram of the whole, count for count.
 */
export interface Histogram {
  exponent: number;
  readonly counts: Float64Array;
  min: number;
  max: number;
}

/** An empty histogram. Its limits are the smallest that a normal float32 needs. */
export function emptyHistogram(): Histogram {
  return {
    exponent: -126,
    counts: new Float64Array(BINS),
    min: Number.POSITIVE_INFINITY,
    max: Number.NEGATIVE_INFINITY,
  };
}

/** Counts values. @returns The first that is no finite number, which ends the counting; undefined where all are. */
export function addValues(histogram: Histogram, values: Float32Array): number | undefined {
  let { min, max } = histogram;
  for (let at = 0; at < values.length; at++) {
    const value = values[at]!;
    if (value < min) min = value;
    if (value > max) max = value;
    // NaN is neither smaller nor greater; it shows in the difference, as infinity does.
    if (value - value !== 0) return value;
  }
  histogram.min = min;
  histogram.max = max;
  if (values.length === 0) return undefined;
  widen(histogram, exponentOf(Math.max(Math.abs(min), Math.abs(max))));
  const { counts } = histogram;
  const factor = 2 ** -histogram.exponent * (BINS / 2);
  for (let at = 0; at < values.length; at++) {
    // The greatest value there can be, 2^exponent itself, belongs to the last bin.
    const bin = Math.min(BINS - 1, Math.floor(values[at]! * factor) + BINS / 2);
    counts[bin] = counts[bin]! + 1;
  }
  return undefined;
}

/** Adds the counts of another histogram to one. */
export function mergeHistogram(into: Histogram, other: Histogram): void {
  const copy: Histogram = { ...other, counts: other.counts.slice() };
  widen(into, copy.exponent);
  widen(copy, into.exponent);
  copy.counts.forEach((count, bin) => {
    into.counts[bin] = into.counts[bin]! + count;
  });
  into.min = Math.min(into.min, copy.min);
  into.max = Math.max(into.max, copy.max);
}

/** The middle of a bin. */
export function centre({ exponent }: Histogram, bin: number): number {
  return ((bin + 0.5) / (BINS / 2) - 1) * 2 ** exponent;
}

/** Width of a bin. */
export function width({ exponent }: Histogram): number {
  return 2 ** (exponent + 1) / BINS;
}

/** The smallest whole number e with magnitude ≤ 2^e. */
function exponentOf(magnitude: number): number {
  if (magnitude <= 2 ** -126) return -126;
  const guess = Math.ceil(Math.log2(magnitude));
  if (2 ** guess < magnitude) return guess + 1;
  return 2 ** (guess - 1) >= magnitude ? guess - 1 : guess;
}

function widen(histogram: Histogram, exponent: number): void {
  const { counts } = histogram;
  // Nothing is left to tell apart after as many doublings as there are bins in a half.
  const doublings = Math.min(exponent - histogram.exponent, Math.log2(BINS));
  for (let done = 0; done < doublings; done++) {
    const joined = new Float64Array(BINS);
    counts.forEach((count, bin) => {
      if (count > 0) joined[BINS / 4 + Math.floor(bin / 2)]! += count;
    });
    counts.set(joined);
  }
  histogram.exponent = Math.max(histogram.exponent, exponent);
}
