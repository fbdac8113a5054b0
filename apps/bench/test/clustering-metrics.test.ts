import { readFile } from "node:fs/promises";
import { generator } from "@exitkit/core-gpu";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { bestKmeans } from "../src/experiments/e2cm-clustering/kmeans.ts";
import { contingency } from "../src/experiments/e2cm-clustering/quality/contingency.ts";
import { hungarianMapping, mappedAccuracy } from "../src/experiments/e2cm-clustering/quality/hungarian.ts";
import { judge } from "../src/experiments/e2cm-clustering/quality/judge.ts";
import { noise } from "./noise.ts";

interface Golden {
  readonly agreements: readonly {
    readonly n: number;
    readonly clusters: number;
    readonly classes: number;
    readonly salt: number;
    readonly mixed: number;
    readonly accuracy: number;
    readonly nmi: number;
    readonly ari: number;
  }[];
  readonly kmeans: { readonly inertia: number; readonly sizes: readonly number[] };
}

let golden: Golden;
beforeAll(async () => {
  golden = JSON.parse(await readFile(new URL("../fixtures/clustering.json", import.meta.url), "utf8"));
});

/** The formulas of clustering.py. */
function labels(n: number, groups: number, salt: number): Int32Array {
  return Int32Array.from(noise(n, salt), (value) => Math.floor(((value + 1) / 2) * groups));
}

function partition({ n, clusters, classes, salt, mixed }: Golden["agreements"][number]) {
  const truth = labels(n, classes, salt);
  const chance = labels(n, clusters, salt + 1);
  const found = truth.map((label, at) => (at % 10 >= mixed ? (label * 3 + 1) % clusters : chance[at]!));
  return { truth, found };
}

const pairs = fc
  .integer({ min: 2, max: 60 })
  .chain((n) =>
    fc.tuple(
      fc.array(fc.integer({ min: 0, max: 5 }), { minLength: n, maxLength: n }),
      fc.array(fc.integer({ min: 0, max: 5 }), { minLength: n, maxLength: n }),
    ),
  );

describe("judge", () => {
  it("gives SciPy's accuracy and scikit-learn's NMI and ARI, with more, fewer and as many clusters as classes", () => {
    expect(golden.agreements).toHaveLength(5);
    for (const one of golden.agreements) {
      const { truth, found } = partition(one);
      const { accuracy, nmi, ari } = judge(found, truth);
      expect(accuracy).toBeCloseTo(one.accuracy, 12);
      expect(nmi).toBeCloseTo(one.nmi, 12);
      expect(ari).toBeCloseTo(one.ari, 12);
    }
  });

  it("does not care what clusters are called; NMI and ARI not which side is which", () => {
    fc.assert(
      fc.property(pairs, fc.integer(), ([clusters, classes], seed) => {
        const [found, truth] = [Int32Array.from(clusters), Int32Array.from(classes)];
        const names = generator(seed).permutation(6);
        const quality = judge(found, truth);
        const renamed = judge(
          found.map((cluster) => names[cluster]!),
          truth,
        );
        expect(renamed.accuracy).toBeCloseTo(quality.accuracy, 12);
        expect(renamed.nmi).toBeCloseTo(quality.nmi, 10);
        expect(renamed.ari).toBeCloseTo(quality.ari, 10);
        const turned = judge(truth, found);
        expect(turned.accuracy).toBeCloseTo(quality.accuracy, 12);
        expect(turned.nmi).toBeCloseTo(quality.nmi, 10);
        expect(turned.ari).toBeCloseTo(quality.ari, 10);
      }),
    );
  });

  it("gives a perfect clustering 1 and one group for all no information", () => {
    fc.assert(
      fc.property(pairs, ([classes]) => {
        const truth = Int32Array.from(classes);
        const perfect = judge(
          truth.map((label) => 5 - label),
          truth,
        );
        expect([perfect.accuracy, perfect.nmi, perfect.ari].map((value) => Number(value.toFixed(9)))).toEqual([
          1, 1, 1,
        ]);
      }),
    );
    const truth = Int32Array.of(0, 0, 1, 1, 2, 2);
    expect(judge(new Int32Array(6), truth)).toEqual({ accuracy: 1 / 3, nmi: 0, ari: 0 });
  });

  it("keeps a mapping that is handed in", () => {
    const [found, truth] = [Int32Array.of(0, 0, 1, 1), Int32Array.of(0, 0, 1, 1)];
    expect(judge(found, truth, Int32Array.of(1, 0)).accuracy).toBe(0);
  });
});

describe("hungarianMapping", () => {
  it("is the best of all one-to-one mappings", () => {
    const orders = permutations(4);
    const small = fc
      .integer({ min: 1, max: 30 })
      .chain((n) => fc.array(fc.tuple(fc.nat({ max: 3 }), fc.nat({ max: 3 })), { minLength: n, maxLength: n }));
    fc.assert(
      fc.property(small, (samples) => {
        const clusters = Int32Array.from(samples, ([cluster]) => cluster);
        const classes = Int32Array.from(samples, ([, label]) => label);
        const best = Math.max(...orders.map((order) => mappedAccuracy(Int32Array.from(order), clusters, classes)));
        const mapping = hungarianMapping(clusters, classes);
        expect(new Set(mapping).size).toBe(mapping.length);
        expect(mappedAccuracy(mapping, clusters, classes)).toBeCloseTo(best, 12);
      }),
    );
  });

  it("refuses what is no pair of partitions", () => {
    expect(() => contingency([0, 1], [0])).toThrow("2 and 1");
    expect(() => contingency([], [])).toThrow("0 and 0");
    expect(() => contingency([0, -1], [0, 0])).toThrow("-1 at sample 1");
    expect(() => contingency([0, 1], [0, 0.5])).toThrow("0.5 at sample 1");
  });
});

describe("bestKmeans", () => {
  const [k, d, n] = [6, 4, 1200];
  const centres = noise(k * d, 40).map((value) => 5 * value);
  const points = noise(n * d, 41).map((value, at) => centres[(Math.floor(at / d) % k) * d + (at % d)]! + value);

  it("finds scikit-learn's clusters, from all points and from a sample", () => {
    for (const sample of [n, 300]) {
      const { inertia, labels, centres } = bestKmeans(points, d, k, { starts: 20, sample, random: generator(1) });
      expect(inertia).toBeLessThan(golden.kmeans.inertia * 1.001);
      expect(inertia).toBeGreaterThan(golden.kmeans.inertia * 0.999);
      const sizes = Array.from({ length: k }, (_, cluster) => labels.filter((label) => label === cluster).length);
      expect(sizes.sort((a, b) => a - b)).toEqual(golden.kmeans.sizes);
      expect(centres).toHaveLength(k * d);
    }
  });

  it("gives the same for the same seed, and no worse for more starts", () => {
    const run = (starts: number, seed: number) =>
      bestKmeans(points, d, k, { starts, sample: n, random: generator(seed) });
    expect(run(3, 7)).toEqual(run(3, 7));
    for (const seed of [1, 2, 3]) expect(run(8, seed).inertia).toBeLessThanOrEqual(run(1, seed).inertia + 1e-9);
  });
});

function permutations(k: number): number[][] {
  if (k === 0) return [[]];
  return permutations(k - 1).flatMap((order) =>
    Array.from({ length: k }, (_, place) => [...order.slice(0, place), k - 1, ...order.slice(place)]),
  );
}
