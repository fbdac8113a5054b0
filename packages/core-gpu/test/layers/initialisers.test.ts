import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { generator, layers, type Tensor } from "../../src/index.ts";

interface Moments {
  readonly shape: readonly number[];
  readonly mean: number;
  readonly std: number;
  readonly min: number;
  readonly max: number;
}
type Part = Readonly<Record<string, { readonly std: number; readonly max: number }>>;

const fixture = JSON.parse(readFileSync(new URL("../../fixtures/layers.json", import.meta.url), "utf8")) as {
  readonly initialisers: Readonly<Record<string, readonly (readonly [object, readonly Moments[]])[]>>;
  readonly gains: Readonly<Record<layers.Nonlinearity, number>>;
  readonly defaults: Readonly<Record<string, Part>>;
};

const random = generator(11);
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const deviation = (values: readonly number[]): number => {
  const centre = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - centre) ** 2)));
};
const greatest = (values: readonly number[]): number =>
  values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/** About 60,000 numbers from tensors of one shape. */
function draws(make: () => Tensor): number[] {
  const values: number[] = [];
  while (values.length < 60_000) for (const value of make().data) values.push(Number(value));
  return values;
}

/** Kolmogorov and Smirnov's greatest distance between the draws and a distribution. */
function distance(values: readonly number[], cumulative: (x: number) => number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted.reduce((most, value, index) => {
    const expected = cumulative(value);
    return Math.max(most, Math.abs(expected - index / values.length), Math.abs(expected - (index + 1) / values.length));
  }, 0);
}

/** Φ, by Abramowitz and Stegun 7.1.26 (within 1.5e-7). */
function normalBelow(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * z);
  const tail =
    ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * Math.exp(-z * z);
  return x < 0 ? tail / 2 : 1 - tail / 2;
}

const makers: Record<string, (options: object) => layers.Initialiser> = { ...layers } as never;
const cases = Object.entries(fixture.initialisers).flatMap(([name, list]) =>
  list.flatMap(([options, moments]) =>
    moments.map((expected) => [name, JSON.stringify(options), options, expected] as const),
  ),
);

// About five standard errors of the moments of 60,000 draws, against 200,000 of PyTorch's; the seeds are fixed.
test.each(cases)("%s %s has PyTorch's moments and bounds", (name, _, options, expected) => {
  const values = draws(() => makers[name]!(options)(random, expected.shape));
  expect(Math.abs(mean(values) - expected.mean)).toBeLessThan(0.025 * expected.std);
  expect(deviation(values) / expected.std).toBeGreaterThan(0.98);
  expect(deviation(values) / expected.std).toBeLessThan(1.02);
  if (name.endsWith("Normal") && name !== "truncatedNormal") return;
  const least = values.reduce((a, b) => Math.min(a, b));
  const most = values.reduce((a, b) => Math.max(a, b));
  expect(Math.abs(least - expected.min)).toBeLessThan(0.02 * expected.std);
  expect(Math.abs(most - expected.max)).toBeLessThan(0.06 * expected.std);
});

describe("distributions are their formulas", () => {
  // Exceeded by chance once in 10⁵: 2·exp(−2·n·d²) with n = 60,000.
  const limit = 0.0101;
  const shape = [50, 40];
  const within = (bound: number) => (x: number) => (x + bound) / (2 * bound);
  const formulas: [string, layers.Initialiser, (x: number) => number][] = [
    ["uniform", layers.uniform(-2, 6), (x) => (x + 2) / 8],
    ["normal", layers.normal(1, 3), (x) => normalBelow((x - 1) / 3)],
    ["pytorchWeight", layers.pytorchWeight, within(1 / Math.sqrt(40))],
    ["pytorchBias", layers.pytorchBias([7, 25]), within(1 / 5)],
    ["xavierUniform", layers.xavierUniform({ gain: 3 }), within(3 * Math.sqrt(6 / 90))],
    ["kaimingUniform", layers.kaimingUniform(), within(Math.sqrt(6 / 40))],
    ["kaimingNormal", layers.kaimingNormal({ mode: "fanOut" }), (x) => normalBelow(x / Math.sqrt(2 / 50))],
    [
      "truncatedNormal",
      layers.truncatedNormal({ low: -1, high: 2 }),
      (x) => (normalBelow(x) - normalBelow(-1)) / (normalBelow(2) - normalBelow(-1)),
    ],
  ];
  test.each(formulas)("%s", (_, initialiser, cumulative) => {
    const values = draws(() => initialiser(random, shape));
    expect(distance(values, cumulative)).toBeLessThan(limit);
    // The test can fail: a distribution one twentieth wider is found out.
    expect(
      distance(
        values.map((value) => value * 1.05 + 0.02),
        cumulative,
      ),
    ).toBeGreaterThan(limit);
  });
});

test("gains are PyTorch's", () => {
  for (const [name, expected] of Object.entries(fixture.gains)) {
    expect(layers.gain(name as layers.Nonlinearity, 0.2)).toBeCloseTo(expected, 12);
  }
});

describe("layers start as PyTorch's", () => {
  const sizes = { in: 8, out: 6, kernel: 3, groups: 2 };
  const made: Record<string, () => Record<string, Tensor>> = {
    linear: () => layers.initLinear(random, { in: 20, out: 12 }),
    conv: () => layers.initConv(random, { in: 4, out: 6, kernel: 3 }),
    groupedConv: () => layers.initConv(random, sizes),
    convTranspose: () => layers.initConvTranspose(random, sizes),
    embedding: () => layers.initEmbedding(random, { entries: 20, features: 12 }),
  };
  test.each(Object.keys(made))("%s", (name) => {
    for (const [part, { std, max }] of Object.entries(fixture.defaults[name]!)) {
      const values = draws(() => made[name]!()[part]!);
      expect(deviation(values) / std).toBeGreaterThan(0.97);
      expect(deviation(values) / std).toBeLessThan(1.03);
      if (name !== "embedding") expect(Math.abs(greatest(values) / max - 1)).toBeLessThan(0.01);
    }
  });

  test("multiHeadAttention", () => {
    const { input, output } = fixture.defaults.multiHeadAttention!;
    const first = layers.initMultiHeadAttention(random, { features: 16 });
    expect(
      deviation(draws(() => layers.initMultiHeadAttention(random, { features: 16 }).input.weight)) / input!.std,
    ).toBeCloseTo(1, 1);
    expect(
      deviation(draws(() => layers.initMultiHeadAttention(random, { features: 16 }).output.weight)) / output!.std,
    ).toBeCloseTo(1, 1);
    expect(fixture.defaults.multiHeadAttention!.biases).toBe(0);
    expect([...first.input.bias.data, ...first.output.bias.data].every((value) => value === 0)).toBe(true);
  });
});

test("the same seed gives the same parameters", () => {
  const made = (seed: number) => layers.initMlp(generator(seed), [3, 4, 2]);
  expect(made(1)).toEqual(made(1));
  expect(made(1)).not.toEqual(made(2));
});

test("what cannot be drawn is refused", () => {
  expect(() => layers.uniform(1, 1)).toThrow("core-gpu.layers.uniform: low < high, both finite; got 1 and 1.");
  expect(() => layers.normal(0, -1)).toThrow("standard deviation finite and ≥ 0; got mean 0, standard deviation -1.");
  expect(() => layers.truncatedNormal({ low: 5, high: 6 })).toThrow(
    "must hold a good part of the distribution; got [5, 6]",
  );
  expect(() => layers.truncatedNormal({ low: 1, high: -1 })).toThrow("got [1, -1]");
  expect(() => layers.xavierUniform({ gain: -1 })).toThrow('option "gain" too small');
  expect(() => layers.kaimingNormal()(random, [5])).toThrow(
    "shape must be [out, in, …]; got [5]. For biases and scales use zeros",
  );
});
