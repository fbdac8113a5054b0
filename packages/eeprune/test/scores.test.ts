import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Tensor, tensor } from "@exitkit/core-gpu";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type EpochColumns,
  type Evidence,
  generator,
  hashSamples,
  METHODS,
  type MethodName,
  type PruneByOptions,
  pruneBy,
  scoreColumns,
} from "../src/index.ts";
import { herding, kCentre, moderate, prototypes } from "../src/rivals/by-features.ts";
import { complexityGap, gapsOf } from "../src/rivals/complexity-gap.ts";
import { matrixOf } from "../src/rivals/evidence.ts";
import { areaUnderMargin, dynamicUncertainty, forgettingEvents } from "../src/rivals/over-epochs.ts";
import { coverage } from "../src/selection/coverage.ts";

const golden = JSON.parse(readFileSync(join(import.meta.dirname, "../fixtures/scores.json"), "utf8"));
const labels: readonly number[] = golden.labels;
const n = labels.length;

const matrix = (rows: readonly (readonly number[])[]): Tensor<"float64"> =>
  tensor("float64", [rows.length, rows[0]!.length], rows.flat());

const epochs: readonly EpochColumns[] = golden.epochs.map(
  ({ logits, seen }: { logits: number[][]; seen: number[] }) => {
    const columns = scoreColumns(matrix(logits), labels);
    return { early: columns, final: columns, seen: Uint8Array.from(seen) };
  },
);
const features = matrix(golden.features);
const finals = golden.runs.map(({ logits }: { logits: number[][] }) => scoreColumns(matrix(logits), labels));

const evidence: Evidence = {
  labels,
  classes: golden.classes,
  early: epochs.at(-1)!.early,
  final: finals[0],
  epochs,
  features,
  inputs: features,
  gradientNorms: golden.runs[2].grand,
  proxy: { final: finals[1] },
};

function near(actual: ArrayLike<number>, expected: readonly number[], digits = 10): void {
  expect(actual.length).toBe(expected.length);
  for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value, digits);
}

/** The ids of the `count` smallest. */
const smallest = (scores: readonly number[], count: number): number[] =>
  [...scores.keys()]
    .sort((a, b) => scores[a]! - scores[b]!)
    .slice(0, count)
    .sort((a, b) => a - b);

const pruned = (method: MethodName, options: Partial<PruneByOptions> = {}, given: Evidence = evidence): number[] => [
  ...pruneBy(method, given, { ratio: 0.25, generator: generator(1), ...options }).pruned,
];

describe("as PyTorch and NumPy", () => {
  it("EL2N, of probabilities", () => {
    near(scoreColumns(matrix([[2, 0, 0]]), [1]).errorNorm, [1.19542], 5);
    for (const [run, { el2n }] of golden.runs.entries()) near(finals[run].errorNorm, el2n);
    const mean = labels.map((_, i) =>
      golden.runs.reduce((sum: number, run: { el2n: number[] }) => sum + run.el2n[i]! / 3, 0),
    );
    const runs = [{ final: finals[1] }, { final: finals[2] }];
    expect(pruned("el2n", {}, { ...evidence, runs })).toEqual(smallest(mean, 10));
    expect(pruned("el2n")).toEqual(smallest(golden.runs[0].el2n, 10));
  });

  it("GraNd, the gradient of the last layer", () => {
    const { logits, grand } = golden.runs[0];
    expect(scoreColumns(matrix(logits), labels).prediction.length).toBe(n);
    expect(pruned("grand")).toEqual(smallest(grand, 10));
    const mean = labels.map((_, i) =>
      golden.runs.reduce((sum: number, run: { grand: number[] }) => sum + run.grand[i]!, 0),
    );
    const runs = [1, 2].map((run) => ({ final: finals[run], features }));
    expect(pruned("grand", {}, { ...evidence, runs })).toEqual(smallest(mean, 10));
  });

  it("forgetting", () => {
    expect([...forgettingEvents(epochs, labels)]).toEqual(golden.forgetting);
  });

  it("area under the margin, over the epochs a sample was seen in", () => {
    near(areaUnderMargin(epochs, n), golden.aum);
    expect(pruned("areaUnderMargin")).toEqual(
      smallest(
        golden.aum.map((area: number) => -area),
        10,
      ),
    );
  });

  it("dynamic uncertainty", () => {
    near(dynamicUncertainty(epochs, n, golden.uncertainty.window), golden.uncertainty.scores);
  });

  it("complexity gap, by leaving samples out", () => {
    const { rows, positive, gaps } = golden.complexityGap;
    near(gapsOf(matrixOf("test", "x", features, n), rows, positive), gaps, 8);
  });

  it.each([300, 3000, 10_000])("what distances choose does not depend on a common offset of %d", (offset) => {
    const random = generator(6);
    // Multiples of 1/64, which float32 holds at 10,000 too.
    const values = Array.from({ length: 60 * 5 }, () => Math.round(64 * random.normal()) / 64);
    const at = (added: number) => {
      const shifted = tensor(
        "float32",
        [60, 5],
        values.map((value) => value + added),
      );
      return matrixOf("test", "x", shifted, 60);
    };
    const all = Int32Array.from({ length: 60 }, (_, i) => i);
    const classOf = all.map((i) => i % 3);
    const [here, there] = [at(0), at(offset)];
    expect(kCentre(there, all, 20)).toEqual(kCentre(here, all, 20));
    near(moderate(there, classOf, 3), [...moderate(here, classOf, 3)]);
    near(prototypes(there, 4, generator(2)), [...prototypes(here, 4, generator(2))]);
  });

  it("herding, k-centre and moderate", () => {
    const all = Int32Array.from({ length: n }, (_, i) => i);
    const x = matrixOf("test", "x", features, n);
    expect([...herding(x, all, 15)]).toEqual(golden.herding);
    expect([...kCentre(x, all, 15)]).toEqual(golden.kCentre);
    near(moderate(x, Int32Array.from(labels), golden.classes), golden.moderate);
    const { kept } = pruneBy("herding", evidence, { ratio: 25 / 40, generator: generator(1) });
    expect([...kept]).toEqual([...golden.herding].sort((a, b) => a - b));
  });
});

/** Epochs of one sample of two classes, label 0, with these margins. */
const marginsOf = (margins: readonly number[]): readonly EpochColumns[] =>
  margins.map((margin) => {
    const columns = scoreColumns(matrix([[margin, 0]]), [0]);
    return { early: columns, final: columns, seen: Uint8Array.of(1) };
  });

describe("by hand", () => {
  it("forgetting: right by epoch 0 1 0 0 1 0 is two events; never right is above every count", () => {
    expect([...forgettingEvents(marginsOf([-1, 1, -1, -1, 1, -1]), [0])]).toEqual([2]);
    expect([...forgettingEvents(marginsOf([-1, -1, -1]), [0])]).toEqual([4]);
    expect([...forgettingEvents(marginsOf([1, 1, 1]), [0])]).toEqual([0]);
  });

  it("the area under margins 1, −1, 2 is .6667", () => {
    near(areaUnderMargin(marginsOf([1, -1, 2]), 1), [2 / 3]);
  });

  it("what no epoch has seen is kept", () => {
    const unseen = epochs.map((epoch) => ({ ...epoch, seen: epoch.seen.map((one, i) => (i === 3 ? 0 : one)) }));
    for (const method of ["forgetting", "areaUnderMargin", "dynamicUncertainty"] as const) {
      expect(pruned(method, { ratio: 0.9, vanishing: "warn" }, { ...evidence, epochs: unseen })).not.toContain(3);
    }
  });

  it("the easiest of each go: surest, largest margin, smallest norm, surest of the proxy", () => {
    const two = [
      [3, 0],
      [1, 0],
      [0, 2],
      [0, 0.5],
    ];
    const given = {
      labels: [0, 0, 1, 1],
      classes: 2,
      final: scoreColumns(matrix(two), [0, 0, 1, 1]),
      proxy: { final: scoreColumns(matrix(two.map(([a, b]) => [b!, a!])), [0, 0, 1, 1]) },
      inputs: matrix([[5], [-1], [2], [0.5]]),
    };
    expect(pruned("margin", { ratio: 0.5 }, given)).toEqual([0, 2]);
    expect(pruned("leastConfidence", { ratio: 0.5 }, given)).toEqual([0, 2]);
    expect(pruned("selectionViaProxy", { ratio: 0.5 }, given)).toEqual([0, 2]);
    expect(pruned("inputNorm", { ratio: 0.5 }, given)).toEqual([1, 3]);
  });

  it("prototypes: what is far from every cluster stays", () => {
    const rows = [
      [0, 0],
      [0.1, 0],
      [0, 0.1],
      [9, 9],
      [9.1, 9],
      [9, 9.1],
      [9, 6],
      [0, 3],
    ];
    const given = { labels: rows.map((_, i) => i % 2), classes: 2, features: matrix(rows) };
    expect([...pruneBy("prototypes", given, { ratio: 0.75, generator: generator(1), vanishing: "warn" }).kept]).toEqual(
      [6, 7],
    );
  });

  it("coverage takes as many of every stratum, and what small ones lack from the large", () => {
    const hardness = Float64Array.from([0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.99, 0.97, 0.5, 1]);
    const rows = Int32Array.from(hardness.keys());
    const kept = coverage(rows, hardness, 5, 1, 2, generator(1));
    // The hardest, 9, goes; of [0, .495) come 3, of the others 2 of 3.
    expect(kept.length).toBe(5);
    expect(kept).not.toContain(9);
    const easy = [...kept].filter((row) => row < 6).length;
    expect(easy).toBe(3);
  });

  it("complexity gap of classes in parts and of samples that come twice is finite", () => {
    const twice = Array.from({ length: 12 }, (_, i) => [Math.cos(i >> 1), Math.sin(i >> 1)]);
    const x = matrixOf("test", "x", matrix(twice), 12);
    const gaps = complexityGap(
      x,
      Int32Array.from(twice, (_, i) => i % 2),
      2,
      generator(1),
    );
    for (const gap of gaps) expect(Number.isFinite(gap)).toBe(true);
  });
});

const names = Object.keys(METHODS) as MethodName[];

describe("every method", () => {
  it.each(names)(
    "%s: kept and pruned are all, exactly the wanted number goes, the same again from the same seed",
    (name) => {
      for (const ratio of [0.1, 0.5, 0.7]) {
        for (const balanced of [false, true]) {
          const options = { ratio, balanced, vanishing: "warn" } as const;
          const one = pruneBy(name, evidence, { ...options, generator: generator(3) });
          expect([...one.kept, ...one.pruned].sort((a, b) => a - b)).toEqual([...labels.keys()]);
          expect(one.pruned.length).toBe(Math.round(n * ratio));
          expect(pruneBy(name, evidence, { ...options, generator: generator(3) })).toEqual(one);
          if (!balanced && name !== "balancedRandom") continue;
          for (let k = 0; k < golden.classes; k++) {
            const gone = [...one.pruned].filter((i) => labels[i] === k).length;
            expect(Math.abs(gone - 10 * ratio)).toBeLessThan(1);
          }
        }
      }
    },
  );

  it.each(names)("%s: the order of the rows changes nothing", (name) => {
    const ids = [...labels.keys()].map((i) => 3 * i + 1);
    const options = { ratio: 0.5, vanishing: "warn" } as const;
    const expected = pruneBy(name, { ...evidence, ids }, { ...options, generator: generator(5) });
    for (const seed of [1, 2]) {
      const order = [...generator(seed).permutation(n)];
      const moved = <T>(column: ArrayLike<T>) => order.map((i) => column[i]!);
      const columns = (logits: number[][]) => scoreColumns(matrix(moved(logits)), moved(labels));
      const shuffledEpochs = golden.epochs.map(({ logits, seen }: { logits: number[][]; seen: number[] }) => ({
        early: columns(logits),
        final: columns(logits),
        seen: Uint8Array.from(moved(seen)),
      }));
      const shuffled: Evidence = {
        labels: moved(labels),
        classes: golden.classes,
        ids: moved(ids),
        early: shuffledEpochs.at(-1).early,
        final: columns(golden.runs[0].logits),
        epochs: shuffledEpochs,
        gradientNorms: moved(golden.runs[2].grand as number[]),
        features: matrix(moved(golden.features)),
        inputs: matrix(moved(golden.features)),
        proxy: { final: columns(golden.runs[1].logits) },
      };
      expect(pruneBy(name, shuffled, { ...options, generator: generator(5) })).toEqual(expected);
    }
  });

  it("ties are broken at random: forgetting without events does not follow the order of the samples", () => {
    const never = marginsOf([1, 1]);
    const columns = Array.from({ length: 2 }, (_, epoch) => {
      const final = scoreColumns(matrix(Array.from({ length: 50 }, () => [1, 0])), new Array(50).fill(0));
      return { ...never[epoch]!, early: final, final, seen: new Uint8Array(50).fill(1) };
    });
    const given = { labels: new Array(50).fill(0), classes: 2, epochs: columns };
    const [one, other] = [1, 2].map((seed) => pruned("forgetting", { ratio: 0.5, generator: generator(seed) }, given));
    expect(one).not.toEqual(other);
    expect(one).not.toEqual([...Array(25).keys()]);
  });

  it("auto prunes the easiest up to half of a set that is learned, and covers above, or where it is not", () => {
    const chosenFor = (wrong: number, ratio: number) => {
      const answers = scoreColumns(
        matrix(
          labels.map((label, i) => [0, 1, 2, 3].map((k) => (k === (i < wrong ? (label + 1) % 4 : label) ? 5 : 0))),
        ),
        labels,
      );
      const given = { ...evidence, early: answers, final: answers };
      return pruneBy("auto", given, { ratio, generator: generator(1), vanishing: "warn" }).method;
    };
    expect([0.1, 0.5, 0.51, 0.8].map((ratio) => chosenFor(0, ratio))).toEqual([
      "auto: eeprune",
      "auto: eeprune",
      "auto: coverage",
      "auto: coverage",
    ]);
    // Four of five of the 40 samples are 32.
    expect([8, 9].map((wrong) => chosenFor(wrong, 0.1))).toEqual(["auto: eeprune", "auto: coverage"]);
  });

  it("coverage keeps every stratum it can", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 4, maxLength: 60 }),
        fc.nat(),
        (scores, seed) => {
          const hardness = Float64Array.from(scores);
          const rows = Int32Array.from(hardness.keys());
          const keep = Math.ceil(scores.length / 2);
          const kept = coverage(rows, hardness, keep, 0, 5, generator(seed));
          expect(kept.length).toBe(keep);
          expect(new Set(kept).size).toBe(keep);
        },
      ),
    );
  });
});

describe("is refused", () => {
  const options = { ratio: 0.5, generator: generator(1) };
  const refusals: readonly [string, string, unknown, unknown, RegExp][] = [
    ["an unknown method", "el3n", evidence, options, /the method must be one of auto, eeprune.*got "el3n"/],
    ["a method of Object", "toString", evidence, options, /the method must be one of/],
    ["no evidence", "random", undefined, options, /evidence must be a record/],
    ["no classes", "random", { labels: [0, 1] }, options, /evidence.classes must be/],
    ["no options", "random", evidence, undefined, /option "ratio"/],
    ["an unknown option", "random", evidence, { ...options, ratios: 1 }, /unknown option "ratios"/],
    [
      "no epochs",
      "forgetting",
      { ...evidence, epochs: [] },
      options,
      /"forgetting" needs evidence.epochs; got none. briefRun gives it/,
    ],
    ["no final scores", "el2n", { labels: [0, 1], classes: 2 }, options, /"el2n" needs evidence.final/],
    ["no early scores", "auto", { labels: [0, 1], classes: 2 }, options, /"auto" needs evidence.early/],
    [
      "features of other samples",
      "moderate",
      { ...evidence, features: matrix([[1], [2]]) },
      options,
      /evidence.features must be a float tensor \[40, …\].*got float64 \[2, 1\]/,
    ],
    [
      "features that are not finite",
      "kCentre",
      { ...evidence, features: matrix(labels.map((_, i) => [i === 3 ? Number.NaN : i])) },
      options,
      /evidence.features must be finite; got NaN in row 3/,
    ],
    [
      "margins that are none",
      "margin",
      { ...evidence, final: { ...evidence.final, margin: new Float64Array(40).fill(Number.NaN, 7, 8) } },
      options,
      /scores of "margin" must be numbers; got NaN in row 7/,
    ],
    [
      "probabilities that are none, to be covered",
      "coverage",
      { ...evidence, early: { ...evidence.early, labelProbability: new Float64Array(40).fill(Number.NaN, 2, 3) } },
      options,
      /scores of "earlyProbability" must be numbers; got NaN in row 2/,
    ],
    [
      "scores of other samples",
      "margin",
      { ...evidence, final: scoreColumns(matrix([[1, 2]]), [0]) },
      options,
      /columns must have 40 elements/,
    ],
    [
      "labels out of range",
      "random",
      { labels: [0, 2], classes: 2 },
      options,
      /labels must be whole numbers of 0 to 1/,
    ],
  ];
  it.each(refusals)("%s", (_, method, given, asked, message) => {
    const attempt = () => pruneBy(method as MethodName, given as Evidence, asked as PruneByOptions);
    expect(attempt).toThrow(message);
    expect(attempt).toThrow(expect.objectContaining({ name: "InputError" }));
  });

  const bad: readonly [string, unknown, unknown, RegExp][] = [
    ["no scores", undefined, [0], /scores must be a tensor \[n, k\]/],
    ["one class", matrix([[1]]), [0], /k ≥ 2; got \[1, 1\]/],
    [
      "scores that are not finite",
      matrix([[1, Number.NaN]]),
      [0],
      /scores must be finite; got NaN at sample 0, class 1/,
    ],
    ["whole numbers", tensor("int32", [1, 2], [1, 2]), [0], /float32 or float64; got int32/],
    ["labels of another length", matrix([[1, 2]]), [0, 1], /labels must have 1 elements/],
  ];
  it.each(bad)("scoreColumns: %s", (_, scores, given, message) => {
    expect(() => scoreColumns(scores as Tensor, given as number[])).toThrow(message);
  });
});

it("tensors of ONNX Runtime are scores, features and samples too", () => {
  const theirs = ({ shape, dtype, data }: Tensor) => ({ dims: shape, type: dtype, data });
  const logits = matrix(golden.runs[0].logits);
  expect(scoreColumns(theirs(logits), labels)).toEqual(scoreColumns(logits, labels));
  const options = { ratio: 0.5, generator: generator(1) };
  const own = { labels, classes: golden.classes, features, inputs: features };
  const other = { ...own, features: theirs(features), inputs: theirs(features) };
  for (const method of ["herding", "inputNorm"] as const) {
    expect(pruneBy(method, other, options).kept).toEqual(pruneBy(method, own, options).kept);
  }
  expect(hashSamples({ x: theirs(features) })).toBe(hashSamples({ x: features }));
  const int64 = { dims: [n], type: "int64", data: BigInt64Array.from(labels, BigInt) };
  expect(scoreColumns(logits, int64)).toEqual(scoreColumns(logits, labels));
  for (const method of ["random", "auto", "forgetting"] as const) {
    const [one, two] = [labels, int64].map((given) =>
      pruneBy(method, { ...evidence, labels: given }, { ratio: 0.3, generator: generator(1) }),
    );
    expect(two).toEqual(one);
  }
});
