import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type EarlyExitColumns, generator, type PruneOptions, pruneByEarlyExit } from "../src/index.ts";

const golden = JSON.parse(readFileSync(join(import.meta.dirname, "../fixtures/criterion.json"), "utf8"));

/** Worked by hand: rows 0, 2, 3 and 5 are right at both exits. */
const byHand: EarlyExitColumns = {
  labels: [0, 0, 1, 1, 2, 2],
  earlyPrediction: [0, 1, 1, 1, 2, 2],
  finalPrediction: [0, 0, 1, 1, 1, 2],
  earlyConfidence: [0.9, 0.99, 0.8, 0.7, 0.95, 0.6],
};

const prune = (columns: EarlyExitColumns, options: Partial<PruneOptions>) =>
  pruneByEarlyExit(columns, { classes: 3, generator: generator(1), ...options });

describe("by hand", () => {
  it("a threshold takes what is right at both exits and surer", () => {
    const { pruned, kept, ratio, threshold } = prune(byHand, { threshold: 0.7 });
    expect([[...pruned], [...kept]]).toEqual([
      [0, 2],
      [1, 3, 4, 5],
    ]);
    expect([ratio, threshold]).toEqual([null, 0.7]);
  });

  it("a ratio takes the surest of them, and says the confidence of the last", () => {
    const { pruned, threshold, missing, warnings, ratio, method } = prune(byHand, { ratio: 0.5, vanishing: "warn" });
    expect([...pruned]).toEqual([0, 2, 3]);
    expect({ threshold, missing, warnings, ratio, method }).toEqual({
      threshold: 0.7,
      missing: 0,
      warnings: ["nothing is kept of class 1"],
      ratio: 0.5,
      method: "eeprune",
    });
  });

  it("with equal classes each loses its own surest", () => {
    expect([...prune(byHand, { ratio: 0.5, balanced: true }).pruned]).toEqual([0, 2, 5]);
  });

  it("a shortfall is said, and filled only when asked to", () => {
    const stopped = prune(byHand, { ratio: 5 / 6, vanishing: "warn" });
    expect([[...stopped.pruned], stopped.missing]).toEqual([[0, 2, 3, 5], 1]);
    expect(stopped.warnings[0]).toMatch(/^1 of the 5 samples to prune are missing/);
    const filled = prune(byHand, { ratio: 5 / 6, shortfall: "fillByEarlyConfidence", vanishing: "warn" });
    expect([[...filled.pruned], filled.missing]).toEqual([[0, 1, 2, 3, 5], 0]);
    expect(filled.warnings[0]).toMatch(/^1 of the 5 .* the surest of the others went instead/);
    const longer = prune(byHand, { ratio: 5 / 6, shortfall: "trainLonger", vanishing: "warn" });
    expect([longer.missing, longer.warnings[0]]).toEqual([1, expect.stringMatching(/train longer$/)]);
  });

  it("the variant loss looks at the early loss alone", () => {
    const columns = { ...byHand, earlyLoss: [0.1, 3, 0.2, 0.4, 0.05, 0.5] };
    expect([...prune(columns, { ratio: 0.5, variant: "loss" }).pruned]).toEqual([0, 2, 4]);
    expect([...prune(columns, { threshold: Math.exp(-0.15), variant: "loss" }).pruned]).toEqual([0, 4]);
  });
});

describe("as NumPy", () => {
  const cases: Readonly<Record<string, Partial<PruneOptions>>> = {
    "ratio 0.3": { ratio: 0.3 },
    "ratio 0.3, balanced": { ratio: 0.3, balanced: true },
    "threshold 0.6": { threshold: 0.6 },
    "ratio 0.9, filled": { ratio: 0.9, shortfall: "fillByEarlyConfidence" },
  };
  it.each(Object.entries(cases))("%s", (name, options) => {
    const { pruned } = prune(golden.columns, { classes: golden.classes, ...options });
    expect([...pruned]).toEqual(golden.pruned[name]);
  });

  it("the number that is missing", () => {
    const wanted = Math.round(240 * 0.9);
    const { missing, pruned } = prune(golden.columns, { classes: golden.classes, ratio: 0.9 });
    expect([missing, pruned.length]).toEqual([wanted - golden.candidates, golden.candidates]);
  });
});

const row = fc.record({
  label: fc.nat(3),
  early: fc.nat(3),
  final: fc.nat(3),
  confidence: fc.integer({ min: 0, max: 8 }).map((eighths) => eighths / 8),
});
const rows = fc.array(row, { minLength: 1, maxLength: 60 });
type Rows = readonly { label: number; early: number; final: number; confidence: number }[];

function columnsOf(given: Rows, ids?: readonly number[]): EarlyExitColumns {
  return {
    labels: given.map(({ label }) => label),
    earlyPrediction: given.map(({ early }) => early),
    finalPrediction: given.map(({ final }) => final),
    earlyConfidence: given.map(({ confidence }) => confidence),
    ...(ids === undefined ? {} : { ids }),
  };
}

const lenient = { classes: 4, vanishing: "warn" } as const;

describe("laws", () => {
  const ratios = fc.integer({ min: 1, max: 99 }).map((percent) => percent / 100);
  const policies = fc.constantFrom("stop", "fillByEarlyConfidence", "trainLonger");
  const variants = fc.constantFrom("confidence", "soft");

  it("kept and pruned are all samples, ascending, none in both; wrong at either exit is kept; no class loses more than it has", () => {
    fc.assert(
      fc.property(rows, ratios, variants, fc.boolean(), fc.nat(), (given, ratio, variant, balanced, seed) => {
        fc.pre(given.some(({ label, early, final }) => label === early && label === final));
        const columns = columnsOf(given);
        const { kept, pruned, missing } = (() => {
          try {
            return prune(columns, { ...lenient, ratio, variant, balanced, generator: generator(seed) });
          } catch (error) {
            // Equal classes may ask for samples only where none qualifies.
            if (balanced && /none that both exits answer right/.test(String(error)))
              return { kept: null, pruned: [], missing: 0 };
            throw error;
          }
        })();
        if (kept === null) return;
        expect([...kept, ...pruned].sort((a, b) => a - b)).toEqual(given.map((_, i) => i));
        expect([...kept]).toEqual([...kept].sort((a, b) => a - b));
        expect([...pruned]).toEqual([...pruned].sort((a, b) => a - b));
        for (const id of pruned) {
          expect([given[id]!.early, given[id]!.final]).toEqual([given[id]!.label, given[id]!.label]);
        }
        expect(pruned.length + missing).toBe(Math.round(given.length * ratio));
      }),
    );
  });

  it("a higher threshold never prunes more", () => {
    const eighths = fc.integer({ min: 0, max: 7 });
    fc.assert(
      fc.property(rows, eighths, eighths, (given, one, other) => {
        const [low, high] = [Math.min(one, other) / 8, Math.max(one, other) / 8];
        const most = new Set(prune(columnsOf(given), { ...lenient, threshold: low }).pruned);
        for (const id of prune(columnsOf(given), { ...lenient, threshold: high }).pruned)
          expect(most.has(id)).toBe(true);
      }),
    );
  });

  it("a larger ratio prunes the same samples and more, where confidences differ", () => {
    fc.assert(
      fc.property(rows, ratios, ratios, (given, one, other) => {
        const distinct = given.map((own, i) => ({
          ...own,
          early: own.label,
          final: own.label,
          confidence: (i + 1) / 61,
        }));
        const few = prune(columnsOf(distinct), { ...lenient, ratio: Math.min(one, other) }).pruned;
        const many = new Set(prune(columnsOf(distinct), { ...lenient, ratio: Math.max(one, other) }).pruned);
        for (const id of few) expect(many.has(id)).toBe(true);
      }),
    );
  });

  it("filled up, exactly the wanted number goes", () => {
    fc.assert(
      fc.property(rows, ratios, fc.boolean(), (given, ratio, balanced) => {
        const { pruned } = prune(columnsOf(given), { ...lenient, ratio, balanced, shortfall: "fillByEarlyConfidence" });
        expect(pruned.length).toBe(Math.round(given.length * ratio));
      }),
    );
  });

  it("the order of the rows changes nothing, ties included", () => {
    fc.assert(
      fc.property(rows, ratios, policies, variants, fc.nat(), (given, ratio, shortfall, variant, seed) => {
        fc.pre(given.some(({ label, early, final }) => label === early && label === final));
        const ids = given.map((_, i) => 7 * i + 3);
        const options = { ...lenient, ratio, shortfall, variant } as const;
        const first = prune(columnsOf(given, ids), { ...options, generator: generator(seed) });
        for (const other of [1, 2]) {
          const order = [...generator(other).permutation(given.length)];
          const shuffled = columnsOf(
            order.map((i) => given[i]!),
            order.map((i) => ids[i]!),
          );
          expect(prune(shuffled, { ...options, generator: generator(seed) })).toEqual(first);
        }
      }),
    );
  });
});

describe("at random", () => {
  const equal = columnsOf(Array.from({ length: 10 }, () => ({ label: 0, early: 0, final: 0, confidence: 0.5 })));

  it("every one of equals goes as often as the others", () => {
    const counts = new Int32Array(10);
    for (let seed = 0; seed < 2000; seed++) {
      for (const id of prune(equal, { classes: 2, ratio: 0.3, generator: generator(seed) }).pruned) counts[id]!++;
    }
    // 2,000 draws of 3 of 10: 600 each, standard deviation 20.5.
    for (const count of counts) expect(Math.abs(count - 600)).toBeLessThan(5 * 20.5);
  });

  it("soft: two equal ones and one twice as sure go in proportion", () => {
    const columns = {
      ...columnsOf([0.4, 0.4, 0.8].map((confidence) => ({ label: 0, early: 0, final: 0, confidence }))),
    };
    const counts = new Int32Array(3);
    for (let seed = 0; seed < 4000; seed++) {
      counts[prune(columns, { classes: 2, ratio: 1 / 3, variant: "soft", generator: generator(seed) }).pruned[0]!]!++;
    }
    for (const [id, share] of [0.25, 0.25, 0.5].entries()) {
      expect(Math.abs(counts[id]! - 4000 * share)).toBeLessThan(5 * Math.sqrt(4000 * share * (1 - share)));
    }
  });

  it("soft with a threshold: each goes with its confidence", () => {
    let gone = 0;
    for (let seed = 0; seed < 400; seed++) {
      gone += prune(equal, {
        classes: 2,
        threshold: 0.2,
        variant: "soft",
        generator: generator(seed),
        vanishing: "warn",
      }).pruned.length;
    }
    expect(Math.abs(gone - 2000)).toBeLessThan(5 * Math.sqrt(4000 * 0.25));
  });
});

describe("is refused", () => {
  const good = { classes: 3, ratio: 0.5, generator: generator(1) };
  const refusals: readonly [string, unknown, unknown, RegExp][] = [
    ["no columns", undefined, good, /columns must be a record/],
    [
      "a missing column",
      { ...byHand, finalPrediction: undefined },
      good,
      /finalPrediction must be a column .* got undefined/,
    ],
    ["a column that is a text", { ...byHand, labels: "001122" }, good, /labels must be a column .* got string/],
    ["no samples", { ...byHand, labels: [] }, good, /labels must have at least one sample/],
    ["another length", { ...byHand, earlyConfidence: [1] }, good, /earlyConfidence must have 6 elements.*got 1/],
    [
      "NaN",
      { ...byHand, earlyConfidence: [0, 0, Number.NaN, 0, 0, 0] },
      good,
      /earlyConfidence must be from 0 to 1; got NaN in row 2/,
    ],
    ["a percentage", { ...byHand, earlyConfidence: [0, 0, 0, 0, 0, 99] }, good, /from 0 to 1; got 99 in row 5/],
    [
      "a label out of range",
      { ...byHand, labels: [0, 0, 1, 1, 2, 3] },
      good,
      /labels must be whole numbers of 0 to 2; got 3 in row 5/,
    ],
    ["a negative label", { ...byHand, labels: [0, -1, 1, 1, 2, 2] }, good, /got -1 in row 1/],
    ["half a class", { ...byHand, earlyPrediction: [0.5, 1, 1, 1, 2, 2] }, good, /earlyPrediction .* got 0.5 in row 0/],
    ["ids twice", { ...byHand, ids: [5, 4, 3, 2, 1, 5] }, good, /ids must differ; got 5 twice/],
    ["loss without losses", byHand, { ...good, variant: "loss" }, /needs the column earlyLoss/],
    ["ratio 0", byHand, { ...good, ratio: 0 }, /option "ratio"/],
    ["ratio 1", byHand, { ...good, ratio: 1 }, /option "ratio"/],
    ["a ratio in percent", byHand, { ...good, ratio: 30 }, /option "ratio"/],
    ["both", byHand, { ...good, threshold: 0.5 }, /either ratio or threshold .* got both/],
    ["neither", byHand, { ...good, ratio: undefined }, /either ratio or threshold .* got neither/],
    ["no generator", byHand, { classes: 3, ratio: 0.5 }, /option "generator"/],
    ["an unknown option", byHand, { ...good, balance: true }, /unknown option "balance"/],
    ["no options", byHand, undefined, /option "classes"/],
    [
      "a class that would vanish",
      byHand,
      { ...good, ratio: undefined, threshold: 0.1 },
      /every class must keep a sample; got nothing of class 1/,
    ],
    ["nothing to prune", { ...byHand, finalPrediction: [1, 1, 0, 0, 0, 0] }, good, /3 samples were to go; got none/],
  ];
  it.each(refusals)("%s", (_, columns, options, message) => {
    expect(() => pruneByEarlyExit(columns as EarlyExitColumns, options as PruneOptions)).toThrow(message);
    expect(() => pruneByEarlyExit(columns as EarlyExitColumns, options as PruneOptions)).toThrow(
      expect.objectContaining({ name: "InputError", caller: "eeprune.pruneByEarlyExit" }),
    );
  });

  it("a class that would vanish, unless a warning is enough", () => {
    expect(prune(byHand, { threshold: 0.1, vanishing: "warn" }).warnings).toEqual(["nothing is kept of class 1"]);
  });
});

it("reads int64 columns", () => {
  const columns = {
    ...byHand,
    labels: BigInt64Array.from([0n, 0n, 1n, 1n, 2n, 2n]),
    earlyConfidence: Float32Array.from(byHand.earlyConfidence as number[]),
  };
  expect([...prune(columns, { ratio: 1 / 3 }).pruned]).toEqual([0, 2]);
});
