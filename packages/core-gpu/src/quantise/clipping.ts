import { BINS, centre, type Histogram, width } from "./histogram.ts";
import {
  type ActivationType,
  activationLevels,
  activationParameters,
  type Parameters,
  type Range,
} from "./parameters.ts";
import { roundEven } from "./rounding.ts";

/** How the range of a tensor follows from the values it took. */
export type RangeMethod = "minMax" | "percentile" | "meanSquaredError" | "entropy";

/**
 * The range of a tensor for quantisation.
 *
 * - `minMax`: from the least to the greatest value seen.
 * - `percentile`: without (100 − percentile) ÷ 2 % of the values at either end.
 * - `meanSquaredError`: the upper end is moved to the share of max, .01 to 1 in steps of .01, at which the mean squared difference
 *   between values and their quantised selves is smallest; then the lower end to such a share of min.
 * - `entropy`: the same, at the least Kullback–Leibler divergence of the quantised values from the values clipped.
 *
 * All but `minMax` read the histogram, so to its bins' width. [0, 0] where no value was seen.
 *
 * Source: percentile and entropy as onnxruntime's calibrators [S: its code], for both ends at once [D].
 */
export function rangeOf(histogram: Histogram, method: RangeMethod, percentile: number, type: ActivationType): Range {
  const { min, max } = histogram;
  if (!(min <= max)) return { min: 0, max: 0 };
  if (method === "minMax" || min === max) return { min, max };
  if (method === "percentile") return percentileRange(histogram, percentile);
  const bins = filled(histogram);
  const cost = (range: Range) =>
    method === "entropy" ? divergence(bins, range, type) : squaredError(bins, range, type);
  const upper = cheapest(
    shares.map((share) => ({ min, max: max > 0 ? max * share : max })),
    cost,
  );
  return cheapest(
    shares.map((share) => ({ min: min < 0 ? min * share : min, max: upper.max })),
    cost,
  );
}

const shares = Array.from({ length: 100 }, (_, at) => (100 - at) / 100);

/** The first of the cheapest ranges. */
function cheapest(ranges: readonly Range[], cost: (range: Range) => number): Range {
  const costs = ranges.map(cost);
  return ranges[costs.indexOf(Math.min(...costs))]!;
}

/** Values and how often they were seen. */
interface Bins {
  readonly values: Float64Array;
  readonly counts: Float64Array;
  readonly total: number;
}

function filled(histogram: Histogram): Bins {
  const places = Array.from({ length: BINS }, (_, bin) => bin).filter((bin) => histogram.counts[bin]! > 0);
  const { min, max } = histogram;
  // Exact zeros (of a Relu) begin their bin; as its middle they would seem to be rounded.
  const zero = BINS / 2;
  const values = Float64Array.from(places, (bin) =>
    bin === zero && min >= 0 ? 0 : Math.min(max, Math.max(min, centre(histogram, bin))),
  );
  const counts = Float64Array.from(places, (bin) => histogram.counts[bin]!);
  return { values, counts, total: counts.reduce((sum, count) => sum + count, 0) };
}

function percentileRange(histogram: Histogram, percentile: number): Range {
  const { counts, min, max } = histogram;
  const total = counts.reduce((sum, count) => sum + count, 0);
  const cut = (total * (100 - percentile)) / 200;
  const end = (bins: Iterable<number>): number => {
    let passed = 0;
    for (const bin of bins) {
      passed += counts[bin]!;
      if (passed > cut) return bin;
    }
    return 0;
  };
  const low = end(Array.from({ length: BINS }, (_, bin) => bin));
  const high = end(Array.from({ length: BINS }, (_, bin) => BINS - 1 - bin));
  const half = width(histogram) / 2;
  return {
    min: Math.max(min, centre(histogram, low) - half),
    max: Math.min(max, centre(histogram, high) + half),
  };
}

/** The whole number that stands for a value. */
function code(value: number, { scale, zeroPoint }: Parameters, low: number, high: number): number {
  return Math.max(low, Math.min(high, roundEven(value / scale) + zeroPoint));
}

function squaredError({ values, counts, total }: Bins, range: Range, type: ActivationType): number {
  const parameters = activationParameters(range, type);
  const { low, high } = activationLevels[type];
  let sum = 0;
  values.forEach((value, at) => {
    const difference = (code(value, parameters, low, high) - parameters.zeroPoint) * parameters.scale - value;
    sum += counts[at]! * difference * difference;
  });
  return sum / total;
}

/**
 * KL(p ‖ q): p are the values with those outside the range moved to its ends; q are those inside, the values of one level all
 * as frequent as their mean.
 */
function divergence({ values, counts, total }: Bins, range: Range, type: ActivationType): number {
  const parameters = activationParameters(range, type);
  const { low, high } = activationLevels[type];
  const inside = values.reduce<number[]>((places, value, at) => {
    if (value >= range.min && value <= range.max) places.push(at);
    return places;
  }, []);
  if (inside.length === 0) return Number.POSITIVE_INFINITY;
  const p = Float64Array.from(inside, (at) => counts[at]!);
  let kept = 0;
  const sums = new Float64Array(high - low + 1);
  const members = new Float64Array(high - low + 1);
  const levels = inside.map((at) => code(values[at]!, parameters, low, high) - low);
  levels.forEach((level, at) => {
    kept += p[at]!;
    sums[level] = sums[level]! + p[at]!;
    members[level] = members[level]! + 1;
  });
  values.forEach((value, at) => {
    if (value < range.min) p[0] = p[0]! + counts[at]!;
    else if (value > range.max) p[p.length - 1] = p[p.length - 1]! + counts[at]!;
  });
  return p.reduce((sum, count, at) => {
    const level = levels[at]!;
    return sum + (count / total) * Math.log(count / total / (sums[level]! / members[level]! / kept));
  }, 0);
}
