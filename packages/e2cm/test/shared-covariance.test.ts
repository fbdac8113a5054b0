import { type Device, generator, openDevice } from "@exitkit/core-gpu";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { choleskyFactor, choleskySolve, type Multiplier, openMultiplier } from "../src/exits/cholesky.ts";
import { type LinearExit, type Shrinkage, solveSharedCovariance } from "../src/exits/shared-covariance.ts";
import type { ClassStatistics } from "../src/statistics/statistics.ts";

let device: Device;
let multiplier: Multiplier;
beforeAll(async () => {
  device = await openDevice("cpu");
  multiplier = await openMultiplier(device);
});
afterAll(() => device.close());

/** A = B Bᵀ/d + I/10 for random B: symmetric, positive definite. */
function positiveDefinite(d: number, seed: number): Float64Array {
  const random = generator(seed);
  const b = Float64Array.from({ length: d * d }, () => random.normal());
  const a = new Float64Array(d * d);
  for (let i = 0; i < d; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = i === j ? 0.1 : 0;
      for (let p = 0; p < d; p++) sum += (b[i * d + p]! * b[j * d + p]!) / d;
      a[i * d + j] = sum;
      a[j * d + i] = sum;
    }
  }
  return a;
}

/** The textbook algorithm, one element at a time. */
function plainCholesky(a: Float64Array, d: number): Float64Array {
  const l = new Float64Array(d * d);
  for (let i = 0; i < d; i++) {
    for (let j = 0; j <= i; j++) {
      let rest = a[i * d + j]!;
      for (let p = 0; p < j; p++) rest -= l[i * d + p]! * l[j * d + p]!;
      l[i * d + j] = i === j ? Math.sqrt(rest) : rest / l[j * d + j]!;
    }
  }
  return l;
}

describe("Cholesky", () => {
  it.each([1, 2, 3, 17, 191, 192, 193, 194, 383, 384, 385, 500])("factors and solves with d = %i", async (d) => {
    const a = positiveDefinite(d, d);
    const factor = a.slice();
    await choleskyFactor(factor, d, multiplier);
    const expected = plainCholesky(a, d);
    for (let i = 0; i < d; i++) {
      for (let j = 0; j < d; j++) {
        // The upper triangle stays as it was.
        const wanted = j <= i ? expected[i * d + j]! : a[i * d + j]!;
        if (!(Math.abs(factor[i * d + j]! - wanted) < 1e-11)) expect(factor[i * d + j]).toBe(wanted);
      }
    }
    const x = Float64Array.from({ length: d }, (_, i) => Math.cos(i));
    const b = Float64Array.from({ length: d }, (_, i) => x.reduce((sum, value, j) => sum + a[i * d + j]! * value, 0));
    choleskySolve(factor, d, b);
    for (let i = 0; i < d; i++) expect(b[i]).toBeCloseTo(x[i]!, 9);
  });

  it.each([
    ["in the first block", 3, 1],
    ["behind the first block", 200, 199],
  ])("refuses a matrix that is not positive definite %s", async (_, d, bad) => {
    const a = positiveDefinite(d, 1);
    a[bad * d + bad] = -1;
    await expect(choleskyFactor(a, d, multiplier)).rejects.toThrow(
      `the matrix is not positive definite: pivot ${bad} of ${d}`,
    );
  });
});

interface Sample {
  readonly x: readonly (readonly number[])[];
  readonly y: readonly number[];
}

/** Float64 statistics of explicit feature vectors. */
function statisticsOf({ x, y }: Sample, k: number): ClassStatistics {
  const d = x[0]!.length;
  const counts = new Float64Array(k);
  const sums = new Float64Array(k * d);
  const gram = new Float64Array(d * d);
  let squares = 0;
  x.forEach((row, n) => {
    counts[y[n]!]!++;
    for (let i = 0; i < d; i++) {
      sums[y[n]! * d + i]! += row[i]!;
      squares += row[i]! ** 2;
      for (let j = 0; j < d; j++) gram[i * d + j]! += row[i]! * row[j]!;
    }
  });
  return {
    modelHash: "",
    scoresFrom: null,
    classes: k,
    outputs: k,
    features: "full",
    counts,
    exits: [{ tap: "t", d, sums, squares, gram }],
  };
}

const solve = (statistics: ClassStatistics, shrinkage: Shrinkage) =>
  solveSharedCovariance("test", device, statistics, statistics.exits[0]!, [shrinkage]).then((layers) => layers[0]!);

const scoresOf = ({ weights, bias }: LinearExit, row: readonly number[]) =>
  Array.from(bias, (b, c) => row.reduce((sum, value, i) => sum + value * weights[i * bias.length + c]!, b));

const argMax = (values: readonly number[]) => values.indexOf(Math.max(...values));

/** Classes x = mean_c + A·z with z standard normal: covariance A Aᵀ for all of them. */
function gaussians(means: readonly (readonly number[])[], a: readonly (readonly number[])[], n: number, seed: number) {
  const random = generator(seed);
  const y = Array.from({ length: n }, (_, i) => (i % 5 === 0 ? 0 : i % means.length));
  const x = y.map((label) => {
    const z = means[0]!.map(() => random.normal());
    return means[label]!.map((mean, i) => mean + z.reduce((sum, value, j) => sum + a[i]![j]! * value, 0));
  });
  return { x, y };
}

describe("the linear layer", () => {
  const means = [
    [0, 0, 0],
    [2, 0, 1],
    [0, -2, 1],
  ];
  const a = [
    [1, 0, 0],
    [0.8, 0.5, 0],
    [-3, 2, 4],
  ];

  it("is the Bayes rule of Gaussian classes with a shared covariance", async () => {
    const sample = gaussians(means, a, 60_000, 3);
    const layer = await solve(statisticsOf(sample, 3), 0);
    const priors = [0, 1, 2].map((label) => sample.y.filter((own) => own === label).length / sample.y.length);
    // log P(c|x) from the truth: A⁻¹(x − mean) by forward substitution, for A is lower triangular.
    const truth = (row: readonly number[]) =>
      means.map((mean, c) => {
        const z: number[] = [];
        for (let i = 0; i < 3; i++) {
          const rest = a[i]!.slice(0, i).reduce((sum, value, j) => sum - value * z[j]!, row[i]! - mean[i]!);
          z.push(rest / a[i]![i]!);
        }
        return Math.log(priors[c]!) - z.reduce((sum, value) => sum + value * value, 0) / 2;
      });
    const fresh = gaussians(means, a, 2000, 4);
    let worst = 0;
    let same = 0;
    for (const row of fresh.x) {
      const [own, expected] = [scoresOf(layer, row), truth(row)];
      // Log posteriors up to a constant of the sample.
      for (const c of [1, 2]) worst = Math.max(worst, Math.abs(own[c]! - own[0]! - (expected[c]! - expected[0]!)));
      if (argMax(own) === argMax(expected)) same++;
    }
    expect(worst).toBeLessThan(0.25);
    expect(same).toBeGreaterThan(1980);
    // And the nearest mean is not: the test would notice a covariance that is ignored.
    const nearest = await solve(statisticsOf(sample, 3), 1);
    expect(fresh.x.filter((row) => argMax(scoresOf(nearest, row)) === argMax(truth(row))).length).toBeLessThan(1900);
  });

  it("gives the same posteriors in any units of the features, whatever the shrinkage", async () => {
    const sample = gaussians(means, a, 400, 5);
    const scale = [1e-3, 7, 2e4];
    const scaled = { ...sample, x: sample.x.map((row) => row.map((value, i) => value * scale[i]!)) };
    for (const shrinkage of [0, 0.3, "analytic"] as const) {
      const one = await solve(statisticsOf(sample, 3), shrinkage);
      const other = await solve(statisticsOf(scaled, 3), shrinkage);
      expect(other.shrinkage).toBeCloseTo(one.shrinkage, 9);
      sample.x.slice(0, 20).forEach((row, n) => {
        const expected = scoresOf(one, row);
        scoresOf(other, scaled.x[n]!).forEach((score, c) => {
          expect(Math.abs(score - expected[c]!)).toBeLessThan(1e-4 * (1 + Math.abs(expected[c]!)));
        });
      });
    }
  });

  it("without correlations (shrinkage 1) weighs every feature by its own variance", async () => {
    const sample = gaussians(means, a, 300, 6);
    const statistics = statisticsOf(sample, 3);
    const layer = await solve(statistics, 1);
    const { counts } = statistics;
    const own = [0, 1, 2].map((c) => sample.x.filter((_, n) => sample.y[n] === c));
    const centres = own.map((rows) => [0, 1, 2].map((i) => rows.reduce((s, row) => s + row[i]!, 0) / rows.length));
    for (let i = 0; i < 3; i++) {
      const spread = own.flatMap((rows, c) => rows.map((row) => (row[i]! - centres[c]![i]!) ** 2));
      const variance = spread.reduce((s, value) => s + value, 0) / (300 - 3);
      const centre = (centres[0]![i]! + centres[1]![i]! + centres[2]![i]!) / 3;
      for (let c = 0; c < 3; c++) {
        expect(layer.weights[i * 3 + c]).toBeCloseTo((centres[c]![i]! - centre) / variance, 5);
      }
    }
    expect([...counts].reduce((s, value) => s + value, 0)).toBe(300);
  });

  it("uses an analytic shrinkage in (0, 1] that falls as samples are added", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 4, max: 60 }), fc.nat(1000), async (n, seed) => {
        const { shrinkage, weights, bias } = await solve(statisticsOf(gaussians(means, a, n + 2, seed), 3), "analytic");
        expect(shrinkage).toBeGreaterThan(0);
        expect(shrinkage).toBeLessThanOrEqual(1);
        expect([...weights, ...bias].every(Number.isFinite)).toBe(true);
      }),
      { seed: 2, numRuns: 30 },
    );
    const lambdas: number[] = [];
    for (const n of [20, 200, 2000, 20_000]) {
      lambdas.push((await solve(statisticsOf(gaussians(means, a, n, 1), 3), "analytic")).shrinkage);
    }
    expect(lambdas).toEqual([...lambdas].sort((p, q) => q - p));
    expect(lambdas[3]).toBeLessThan(1e-3);
  });

  it("gives a feature that never varies no weight", async () => {
    const sample = gaussians(means, a, 200, 7);
    const plain = await solve(statisticsOf(sample, 3), 0.1);
    for (const constant of [0, 3.1, -1e4]) {
      const widened = { ...sample, x: sample.x.map((row) => [...row, constant, constant]) };
      const layer = await solve(statisticsOf(widened, 3), 0.1);
      expect([...layer.weights.subarray(9)].every((weight) => Math.abs(weight) < 1e-9)).toBe(true);
      plain.weights.forEach((weight, index) => {
        expect(layer.weights[index]).toBeCloseTo(weight, 6);
      });
    }
  });

  it("works with more features than samples, and with one sample a class", async () => {
    const random = generator(9);
    const d = 250;
    const y = Array.from({ length: 60 }, (_, i) => i % 3);
    const x = y.map((label) => Array.from({ length: d }, (_, i) => random.normal() + (i % 3 === label ? 0.8 : 0)));
    const layer = await solve(statisticsOf({ x, y }, 3), "analytic");
    expect(layer.shrinkage).toBeGreaterThan(0.01);
    const right = y.filter((label) => {
      const row = Array.from({ length: d }, (_, i) => random.normal() + (i % 3 === label ? 0.8 : 0));
      return argMax(scoresOf(layer, row)) === label;
    });
    expect(right.length).toBeGreaterThan(45);
    const single = await solve(statisticsOf({ x: x.slice(0, 3), y: [0, 1, 2] }, 3), "analytic");
    expect(x.slice(0, 3).map((row) => argMax(scoresOf(single, row)))).toEqual([0, 1, 2]);
    expect(single.shrinkage).toBe(1);
  });

  it.each([
    ["a block of pivots", 40, 90, 3],
    ["several blocks", 170, 180, 3],
    ["as many samples as features", 90, 90, 3],
    ["one sample a class", 4, 30, 4],
  ])("solves in the rank of the covariance as in all features: %s", async (_, n, d, k) => {
    const random = generator(n);
    const y = Array.from({ length: n }, (_, i) => i % k);
    // One feature is constant, one repeats another.
    const x = y.map((label) => {
      const row = Array.from({ length: d }, (_, i) => random.normal() + (i % k === label ? 0.8 : 0));
      return row.with(3, 2).with(4, row[5]!);
    });
    const statistics = statisticsOf({ x, y }, k);
    const [{ d: _d, sums, gram }] = statistics.exits as [ClassStatistics["exits"][number]];
    for (const shrinkage of [0.01, 0.3, 1]) {
      const { weights, bias } = await solve(statistics, shrinkage);
      // Textbook: R scaled, shrunk, factored whole.
      const mean = (c: number, i: number) => sums[c * d + i]! / statistics.counts[c]!;
      const within = new Float64Array(d * d);
      for (let i = 0; i < d; i++) {
        for (let j = 0; j < d; j++) {
          let sum = gram![i * d + j]!;
          for (let c = 0; c < k; c++) sum -= statistics.counts[c]! * mean(c, i) * mean(c, j);
          within[i * d + j] = sum / Math.max(1, n - k);
        }
      }
      const deviation = Array.from({ length: d }, (_, i) =>
        within[i * d + i]! > 1e-9 ? Math.sqrt(within[i * d + i]!) : 1,
      );
      const r = within.map((value, at) => {
        const [i, j] = [Math.floor(at / d), at % d];
        return i === j
          ? 1
          : within[i * d + i]! > 1e-9 && within[j * d + j]! > 1e-9
            ? ((1 - shrinkage) * value) / (deviation[i]! * deviation[j]!)
            : 0;
      });
      const factor = plainCholesky(r, d);
      for (let c = 0; c < k; c++) {
        const centre = (i: number) =>
          Array.from({ length: k }, (_, other) => mean(other, i)).reduce((a, b) => a + b) / k;
        const wanted = Float64Array.from({ length: d }, (_, i) => (mean(c, i) - centre(i)) / deviation[i]!);
        choleskySolve(factor, d, wanted);
        for (let i = 0; i < d; i++) expect(weights[i * k + c]!).toBeCloseTo(wanted[i]! / deviation[i]!, 4);
      }
      expect(bias.every(Number.isFinite)).toBe(true);
    }
  });

  it("refuses a covariance that cannot be inverted, and statistics without Gram matrices", async () => {
    const random = generator(10);
    const y = [0, 1, 0, 1];
    const x = y.map(() => Array.from({ length: 9 }, () => random.normal()));
    const statistics = statisticsOf({ x, y }, 2);
    await expect(solve(statistics, 0)).rejects.toThrow(/^test: .*"t".*4 samples.*9 features.*shrinkage/s);
    const without = { ...statistics, exits: [{ ...statistics.exits[0]!, gram: null }] };
    await expect(solve(without, 0)).rejects.toThrow(
      'test: shared covariance needs statistics with Gram matrices; got none at "t". Accumulate with metric: "sharedCovariance".',
    );
  });
});
