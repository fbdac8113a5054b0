import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { rangeOf } from "../../src/quantise/clipping.ts";
import {
  addValues,
  BINS,
  emptyHistogram,
  type Histogram,
  mergeHistogram,
  width,
} from "../../src/quantise/histogram.ts";
import { activationParameters, quantiseBias, quantiseWeight } from "../../src/quantise/parameters.ts";
import { roundEven } from "../../src/quantise/rounding.ts";
import { generator } from "../../src/random.ts";

const histogramOf = (...parts: readonly (readonly number[])[]): Histogram => {
  const histogram = emptyHistogram();
  for (const part of parts) expect(addValues(histogram, Float32Array.from(part))).toBeUndefined();
  return histogram;
};
const values = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { maxLength: 40 });

describe("scale and zero point", () => {
  test("a range without zero is widened to hold it: [.1, 1] is [0, 1]", () => {
    expect(activationParameters({ min: 0.1, max: 1 }, "uint8")).toEqual({ scale: Math.fround(1 / 255), zeroPoint: 0 });
    expect(activationParameters({ min: -1, max: -0.1 }, "uint8")).toEqual({
      scale: Math.fround(1 / 255),
      zeroPoint: 255,
    });
  });

  test("[−1, .5]: scale 1.5/255, zero point 170", () => {
    expect(activationParameters({ min: -1, max: 0.5 }, "uint8")).toEqual({
      scale: Math.fround(1.5 / 255),
      zeroPoint: 170,
    });
    expect(activationParameters({ min: -1, max: 0.5 }, "int8")).toEqual({
      scale: Math.fround(1.5 / 255),
      zeroPoint: 42,
    });
  });

  test("zero is a whole number and every value of the range is within half a step", () => {
    const finite = fc.double({ min: -1e6, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(finite, finite, fc.constantFrom("uint8" as const, "int8" as const), (a, b, type) => {
        const range = { min: Math.min(a, b), max: Math.max(a, b) };
        const { scale, zeroPoint } = activationParameters(range, type);
        const [low, high] = type === "uint8" ? [0, 255] : [-128, 127];
        expect(scale).toBeGreaterThan(0);
        expect(Number.isInteger(zeroPoint) && zeroPoint >= low! && zeroPoint <= high!).toBe(true);
        for (const value of [range.min, range.max, 0]) {
          const code = Math.max(low!, Math.min(high!, roundEven(value / scale) + zeroPoint));
          expect(Math.abs((code - zeroPoint) * scale - value)).toBeLessThanOrEqual(scale * 1.001);
        }
      }),
    );
  });

  test.each([0, 1e-45])("a tensor that is always %d has a positive scale", (value) => {
    expect(activationParameters({ min: value, max: value }, "uint8")).toEqual({ scale: 1, zeroPoint: 0 });
  });
});

describe("weights and biases", () => {
  test("are rounded channel by channel, symmetrically, halves to even", () => {
    const weight = Float32Array.of(127, -2.5, 3.5, 0.5, 2, -4);
    expect(quantiseWeight(weight, { count: 2, inner: 3 }, 8)).toEqual({
      codes: Int8Array.of(127, -2, 4, 16, 64, -127),
      scales: Float32Array.of(1, 4 / 127),
    });
    // The same numbers with channels in the columns.
    const columns = Float32Array.of(127, 0.5, -2.5, 2, 3.5, -4);
    expect(quantiseWeight(columns, { count: 2, inner: 1 }, 8).codes).toEqual(Int8Array.of(127, 16, -2, 64, 4, -127));
  });

  test("a channel of zeros has a positive scale and stays zero", () => {
    const { codes, scales } = quantiseWeight(Float32Array.of(0, 0, 1.27, 0.5), { count: 2, inner: 2 }, 8);
    expect([...codes]).toEqual([0, 0, 127, 50]);
    expect([...scales]).toEqual([Math.fround(0.01), Math.fround(0.01)]);
    expect(quantiseWeight(new Float32Array(2), { count: 1, inner: 2 }, 8).scales).toEqual(Float32Array.of(1));
  });

  test("7 bits: two products fit 16 bits, with 8 they do not", () => {
    const largest = (bits: 7 | 8) =>
      Math.max(...quantiseWeight(Float32Array.of(3, -3), { count: 1, inner: 2 }, bits).codes);
    expect(2 * 255 * largest(8)).toBe(64_770);
    expect(2 * 255 * largest(7)).toBe(32_130);
  });

  test("a bias is whole at input scale · weight scale: 1 is 50,000 and 500", () => {
    const bias = quantiseBias(Float32Array.of(1, 1), 0.02, Float32Array.of(0.001, 0.1))!;
    expect([...bias.codes]).toEqual([50_000, 500]);
    expect([...bias.scales]).toEqual([Math.fround(0.02 * Math.fround(0.001)), Math.fround(0.02 * Math.fround(0.1))]);
  });

  test("a bias outside 32 bits is refused", () => {
    expect(quantiseBias(Float32Array.of(2 ** 31 * 1.01), 1, Float32Array.of(1))).toBeUndefined();
    expect(quantiseBias(Float32Array.of(-(2 ** 31)), 1, Float32Array.of(1))?.codes[0]).toBe(-(2 ** 31));
  });
});

describe("histograms", () => {
  test("count every value in its bin, whatever came before", () => {
    fc.assert(
      fc.property(fc.array(values, { maxLength: 4 }), (parts) => {
        const all = parts.flat().map(Math.fround);
        const histogram = histogramOf(...parts);
        const total = histogram.counts.reduce((sum, count) => sum + count, 0);
        expect(total).toBe(all.length);
        if (all.length === 0) return;
        expect(histogram.min).toBe(Math.min(...all));
        expect(histogram.max).toBe(Math.max(...all));
        const limit = 2 ** histogram.exponent;
        const expected = new Float64Array(BINS);
        for (const value of all) {
          const bin = Math.min(BINS - 1, Math.floor(((value / limit) * BINS) / 2) + BINS / 2);
          expected[bin] = expected[bin]! + 1;
        }
        expect(Buffer.compare(Buffer.from(histogram.counts.buffer), Buffer.from(expected.buffer))).toBe(0);
      }),
    );
  });

  test("of two shards merge into that of the whole", () => {
    fc.assert(
      fc.property(values, values, (a, b) => {
        const merged = histogramOf(a);
        mergeHistogram(merged, histogramOf(b));
        const { counts, ...rest } = histogramOf(a, b);
        expect(merged).toMatchObject(rest);
        expect(Buffer.compare(Buffer.from(merged.counts.buffer), Buffer.from(counts.buffer))).toBe(0);
      }),
    );
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])("%d is reported", (value) => {
    expect(addValues(emptyHistogram(), Float32Array.of(1, value, 2))).toBe(value);
  });
});

describe("ranges", () => {
  const random = generator(3);
  const sample = Array.from({ length: 20_000 }, () => Math.fround(random.normal()));
  const withOutlier = [...sample, 100];

  test("min–max is what was seen", () => {
    expect(rangeOf(histogramOf(withOutlier), "minMax", 99, "uint8")).toEqual({ min: Math.min(...sample), max: 100 });
    expect(rangeOf(emptyHistogram(), "entropy", 99, "uint8")).toEqual({ min: 0, max: 0 });
  });

  test.each([90, 99, 99.9])("percentile %d cuts half of the rest at either end, to a bin", (percentile) => {
    const sorted = [...withOutlier].sort((a, b) => a - b);
    const cut = (sorted.length * (100 - percentile)) / 200;
    const histogram = histogramOf(withOutlier);
    const { min, max } = rangeOf(histogram, "percentile", percentile, "uint8");
    expect(Math.abs(min - sorted[Math.floor(cut)]!)).toBeLessThanOrEqual(width(histogram));
    expect(Math.abs(max - sorted[sorted.length - 1 - Math.floor(cut)]!)).toBeLessThanOrEqual(width(histogram));
  });

  test("100 % cuts nothing", () => {
    expect(rangeOf(histogramOf(withOutlier), "percentile", 100, "uint8")).toEqual({
      min: Math.min(...sample),
      max: 100,
    });
  });

  /** Mean squared rounding error of the values themselves. */
  const error = (data: readonly number[], range: { min: number; max: number }) => {
    const { scale, zeroPoint } = activationParameters(range, "uint8");
    const rounded = (value: number) => Math.max(0, Math.min(255, roundEven(value / scale) + zeroPoint));
    return data.reduce((sum, value) => sum + ((rounded(value) - zeroPoint) * scale - value) ** 2, 0) / data.length;
  };

  test("mean squared error is as good as the best share of the range, tried on the values", () => {
    const heavy = sample.map((value) => value ** 3);
    const chosen = error(heavy, rangeOf(histogramOf(heavy), "meanSquaredError", 0, "uint8"));
    const [min, max] = [Math.min(...heavy), Math.max(...heavy)];
    const tried = Array.from({ length: 99 }, (_, i) =>
      error(heavy, { min: (min * (i + 2)) / 100, max: (max * (i + 2)) / 100 }),
    );
    expect(chosen).toBeLessThanOrEqual(Math.min(...tried) * 1.02);
    expect(chosen).toBeLessThan(error(heavy, { min, max }));
  });

  test("one outlier ruins min–max; entropy and percentile leave it out", () => {
    const histogram = histogramOf(withOutlier);
    for (const method of ["entropy", "percentile"] as const) {
      const range = rangeOf(histogram, method, 99.9, "uint8");
      expect(range.max).toBeLessThan(10);
      expect(error(sample, range)).toBeLessThan(error(sample, rangeOf(histogram, "minMax", 0, "uint8")) / 10);
    }
  });
});
