import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Generator } from "../src/random.ts";
import { generator } from "../src/random.ts";

const draw = (random: Generator, n: number): number[] => Array.from({ length: n }, () => random.uniform());
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const correlation = (a: readonly number[], b: readonly number[]): number => {
  const [ma, mb] = [mean(a), mean(b)];
  const product = (x: readonly number[], mx: number, y: readonly number[], my: number) =>
    mean(x.map((value, i) => (value - mx) * (y[i]! - my)));
  return product(a, ma, b, mb) / Math.sqrt(product(a, ma, a, ma) * product(b, mb, b, mb));
};
/** Pearson's statistic against equal shares; its mean is bins − 1, its variance 2(bins − 1). */
const chiSquare = (counts: readonly number[]): number => {
  const expected = counts.reduce((sum, value) => sum + value, 0) / counts.length;
  return counts.reduce((sum, value) => sum + (value - expected) ** 2 / expected, 0);
};
// Far out in the tail (about 1 in 10⁶), since the seeds are fixed the tests do not flicker anyway.
const limit = (bins: number): number => bins - 1 + 5 * Math.sqrt(2 * (bins - 1));

test("the same seed gives the same numbers, other seeds give others", () => {
  expect(draw(generator(5), 20)).toEqual(draw(generator(5), 20));
  fc.assert(
    fc.property(fc.maxSafeInteger(), fc.maxSafeInteger(), (a, b) => {
      fc.pre(a !== b);
      expect(draw(generator(a), 3)).not.toEqual(draw(generator(b), 3));
    }),
  );
});

/** xoroshiro128+ 1.0 (Blackman and Vigna, 2018: rotations 24, 16, 37) in 64-bit whole numbers; gives the low 32 bits. */
function* xoroshiro128plus([high0, low0, high1, low1]: readonly number[]): Generator32 {
  const word = (high: number, low: number) => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
  const rotate = (x: bigint, by: bigint) => BigInt.asUintN(64, (x << by) | (x >> (64n - by)));
  let [s0, s1] = [word(high0!, low0!), word(high1!, low1!)];
  for (;;) {
    yield Number((s0 + s1) & 0xffffffffn);
    const mixed = s0 ^ s1;
    s0 = BigInt.asUintN(64, rotate(s0, 24n) ^ mixed ^ (mixed << 16n));
    s1 = rotate(mixed, 37n);
  }
}
type Generator32 = globalThis.Generator<number, never, never>;

test("the stream is xoroshiro128+", () => {
  const random = generator(77);
  const reference = xoroshiro128plus(random.state());
  for (let i = 0; i < 1000; i++) {
    const [a, b] = [reference.next().value % 2 ** 26, reference.next().value % 2 ** 27];
    expect(random.uniform()).toBe((a * 2 ** 27 + b) / 2 ** 53);
  }
});

test("a seed means the same numbers in every version", () => {
  expect(generator(2026).state()).toEqual([-873674859, -604685872, 637624593, 1494131254]);
});

test("neighbouring seeds, and their first numbers, are unrelated", () => {
  const n = 20_000;
  const first = Array.from({ length: n }, (_, seed) => generator(seed).uniform());
  expect(Math.abs(correlation(first.slice(1), first.slice(0, -1)))).toBeLessThan(5 / Math.sqrt(n));
  expect(Math.abs(correlation(first, Array.from(first.keys())))).toBeLessThan(5 / Math.sqrt(n));
  const counts = Array.from({ length: 50 }, () => 0);
  for (const value of first) counts[Math.floor(value * 50)]!++;
  expect(chiSquare(counts)).toBeLessThan(limit(50));
});

test("state resumes exactly, in any mix of draws", () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), fc.nat(30), (seed, n) => {
      const random = generator(seed);
      for (let i = 0; i < n; i++) [() => random.uniform(), () => random.normal(), () => random.integer(7)][i % 3]!();
      const resumed = generator(random.state());
      for (let i = 0; i < 5; i++) {
        expect(resumed.normal()).toBe(random.normal());
        expect(resumed.integer(2 ** 40)).toBe(random.integer(2 ** 40));
      }
      expect(resumed.split().uniform()).toBe(random.split().uniform());
    }),
  );
});

test("uniform fills [0, 1) evenly, with all 53 bits", () => {
  const values = draw(generator(1), 200_000);
  expect(values.every((value) => value >= 0 && value < 1)).toBe(true);
  const counts = Array.from({ length: 100 }, () => 0);
  for (const value of values) counts[Math.floor(value * 100)]!++;
  expect(chiSquare(counts)).toBeLessThan(limit(100));
  expect(values.some((value) => (value * 2 ** 53) % 2 === 1)).toBe(true);
  expect(Math.abs(correlation(values.slice(1), values.slice(0, -1)))).toBeLessThan(5 / Math.sqrt(values.length));
});

test("normal has the moments and tails of the standard normal distribution", () => {
  const random = generator(3);
  const n = 200_000;
  const values = Array.from({ length: n }, () => random.normal());
  const moment = (power: number) => mean(values.map((value) => value ** power));
  expect(values.every(Number.isFinite)).toBe(true);
  // Standard errors of the first four moments: 1, √2, √15, √96 over √n.
  for (const [power, expected, spread] of [
    [1, 0, 1],
    [2, 1, 2],
    [3, 0, 15],
    [4, 3, 96],
  ] as const) {
    expect(Math.abs(moment(power) - expected)).toBeLessThan(5 * Math.sqrt(spread / n));
  }
  // P(|x| > 1.959964) = 0.05
  const share = values.filter((value) => Math.abs(value) > 1.959964).length / n;
  expect(Math.abs(share - 0.05)).toBeLessThan(5 * Math.sqrt((0.05 * 0.95) / n));
});

describe("integer", () => {
  test.each([1, 2, 3, 10, 37])("below %i: all values, equally often", (below) => {
    const random = generator(below);
    const counts = Array.from({ length: below }, () => 0);
    for (let i = 0; i < 40_000; i++) counts[random.integer(below)]!++;
    expect(chiSquare(counts)).toBeLessThan(below === 1 ? 1 : limit(below));
  });

  test("reaches numbers beyond 32 bits", () => {
    const random = generator(9);
    const values = Array.from({ length: 2000 }, () => random.integer(Number.MAX_SAFE_INTEGER));
    expect(Math.abs(mean(values) / Number.MAX_SAFE_INTEGER - 0.5)).toBeLessThan(0.04);
    expect(values.every((value) => Number.isSafeInteger(value) && value < Number.MAX_SAFE_INTEGER)).toBe(true);
  });

  test.each([0, -1, 1.5, Number.NaN, 2 ** 53])("refuses below %d", (below) => {
    expect(() => generator(1).integer(below)).toThrow("below must be a whole number from 1 to 2^53 - 1; got");
  });
});

describe("shuffle and permutation", () => {
  test("keep the items and leave the argument alone", () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), fc.maxSafeInteger(), (items, seed) => {
        const before = [...items];
        const shuffled = generator(seed).shuffle(items);
        expect(items).toEqual(before);
        expect(shuffled).not.toBe(items);
        expect(shuffled.toSorted((a, b) => a - b)).toEqual(before.toSorted((a, b) => a - b));
      }),
    );
  });

  test("every order of four items is equally likely", () => {
    const random = generator(4);
    const counts = new Map<string, number>();
    for (let i = 0; i < 24_000; i++) {
      const key = i % 2 === 0 ? random.permutation(4).join("") : random.shuffle(["0", "1", "2", "3"]).join("");
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    expect(chiSquare([...counts.values()])).toBeLessThan(limit(24));
  });

  test("permutation of none is empty, of a wrong number is refused", () => {
    expect(generator(1).permutation(0)).toEqual(new Int32Array(0));
    for (const n of [-1, 0.5, 2 ** 31]) {
      expect(() => generator(1).permutation(n)).toThrow("n must be a whole number from 0 to 2^31 - 1");
    }
  });
});

test("split gives streams unrelated to each other and to their parent, nested ones too", () => {
  const parent = generator(8);
  const child = parent.split();
  const grandchild = child.split();
  const sibling = parent.split();
  const streams = [parent, child, grandchild, sibling].map((random) => draw(random, 20_000));
  for (const [i, a] of streams.entries()) {
    for (const b of streams.slice(i + 1)) {
      expect(Math.abs(correlation(a, b))).toBeLessThan(5 / Math.sqrt(a.length));
      expect(new Set([...a, ...b]).size).toBe(a.length + b.length);
    }
  }
});

test.each([1.5, Number.NaN, 2 ** 60])("refuses the seed %d", (seed) => {
  expect(() => generator(seed)).toThrow("core-gpu.generator: the seed must be a whole number within ±(2^53 - 1)");
});

test.each([[[1, 2, 3]], [[0, 0, 0, 0]], [[1, 2, 3, 2 ** 40]], [[1, 2, 3, 0.5]]])("refuses the state %j", (state) => {
  expect(() => generator(state)).toThrow("a state must be four 32-bit integers, not all zero; got [");
});
