import { describe, expect, it } from "vitest";
import { check } from "../src/experiments/eeprune/check.ts";
import { meanOf, meansOf } from "../src/experiments/eeprune/means.ts";
import { claimsOf } from "../src/experiments/eeprune/paper.ts";
import { keep, measured, report, summary } from "../src/experiments/eeprune/report.ts";
import { type EepruneResult, schema } from "../src/experiments/eeprune/schema.ts";
import { markdown } from "../src/report/markdown.ts";
import { contentOf } from "../src/report/report.ts";
import { markdownTable } from "../src/report/table.ts";
import { common } from "./report-samples.ts";

/** Accuracies that were made up, of which the tests know what they say. */
const ACCURACIES: Readonly<Record<string, readonly number[]>> = {
  random: [0.8, 0.81],
  eeprune: [0.82, 0.83],
  coverage: [0.81, 0.8],
  whole: [0.825, 0.835],
};

function sample(change: Partial<EepruneResult> = {}): EepruneResult {
  const rows = Object.entries(ACCURACIES).flatMap(([method, accuracies]) =>
    accuracies.map((accuracy, at) => ({
      dataset: "CIFAR-10",
      method,
      ratio: 0.5,
      budget: "epochs",
      seed: 1 + at,
      accuracy,
      samplesSeen: 2000,
      steps: 40,
      seconds: 3,
      scoringCost: method === "random" || method === "whole" ? 0 : 2000,
    })),
  );
  const study = { seed: 1, method: "eeprune" };
  return schema.parse({
    experiment: "eeprune",
    ...common("eeprune", 1),
    data: { name: "CIFAR-10", complete: true, train: 1000, test: 500, files: [] },
    settings: {
      network: "ResNet-8",
      epochs: 4,
      briefEpochs: 2,
      batch: 50,
      seeds: 2,
      macs: 3e6,
      leftOut: 1,
      reduced: true,
    },
    rows,
    brief: [
      {
        seed: 1,
        place: "mid",
        early: 0.6,
        final: 0.7,
        both: 0.5,
        samplesSeen: 2000,
        samplesScored: 1000,
        macs: 3e6 * 7000,
        trainingSeconds: 9,
        scoringSeconds: 1,
      },
    ],
    complement: [{ ...study, variant: "pruned", ratio: 0.5, accuracy: 0.7 }],
    places: [0.3, 0.6].flatMap((ratio) =>
      ["before", "mid", "after"].map((variant, at) => ({
        ...study,
        variant,
        ratio,
        accuracy: 0.7 + (at === 1 ? 0.02 : 0),
      })),
    ),
    head: [{ ...study, variant: "with head", ratio: 0.5, accuracy: 0.83 }],
    noise: [{ seed: 1, share: 0.1, method: "both exits", changed: 100, flagged: 80, precision: 0.75, recall: 0.6 }],
    classSize: [600, 400],
    classes: [{ seed: 1, method: "eeprune", ratio: 0.1, pruned: [90, 10] }],
    toy: [1, 8].map((epoch) => ({ epoch, x: [0, 1], y: [1, 0], label: [0, 1], pruned: epoch === 1 ? [0, 0] : [0, 1] })),
    ...change,
  });
}

describe("the result of eeprune", () => {
  it("means and deviations over seeds", () => {
    const found = meanOf(meansOf(sample().rows), "random", 0.5)!;
    expect(found.mean).toBeCloseTo(0.805, 12);
    expect(found.deviation).toBeCloseTo(Math.sqrt(0.00005), 12);
  });

  it("claims are compared seed by seed, and judged only where measured", () => {
    const result = sample();
    const claims = claimsOf(result, meansOf(result.rows));
    expect(claims.map(({ status }) => status)).toEqual([
      "not measured",
      "the same, for all of 2 seeds",
      "not so: 1 are better",
      "the same, for all of 1 seed",
      "the same",
      "the same",
    ]);
    const none = sample({ rows: [], brief: [], complement: [], places: [] });
    expect(claimsOf(none, meansOf(none.rows)).map(({ status }) => status)).toEqual(Array(6).fill("not measured"));
    const turned = sample({ rows: result.rows.map((row) => ({ ...row, accuracy: 1 - row.accuracy })) });
    expect(claimsOf(turned, meansOf(turned.rows))[1]?.status).toBe("the opposite, for all of 2 seeds");
  });

  it("the terminal, the report and the page show the same numbers", () => {
    const result = sample();
    const { table: tables, notes } = summary(result);
    const table = [tables].flat()[0]!;
    expect(markdownTable(table)).toContain("| EEPrune | 82.50 % ± 0.71 |".replaceAll(" %", "\u00a0%"));
    expect(markdownTable(table)).toContain("**83.00\u00a0% ± 0.71**");
    expect(notes?.join(" ")).toContain("1 trainings were left out for want of time");
    const { headline, sections } = report(result);
    expect(headline.sentence.replaceAll("\u00a0", " ")).toBe(
      "Without the 50 % that EEPrune finds easiest: 82.50 % right; without a random 50 % 80.50 %, all pictures for fewer epochs 83.00 %.",
    );
    expect(sections.filter(({ content }) => content.length === 0).map(({ id }) => id)).toEqual(["eeprune-steps"]);
    const page = markdown(measured(result, new Map()));
    expect(page).toContain("## Which training pictures may go");
    expect(page).toContain("| 10 % | both exits | 80 | 75.00 % | 60.00 % | 1 |");
    expect(page).toContain("Reduced (`--reduced`)");
    expect(page).toContain("Best: at 50 % all, for fewer epochs (2.50 points above random).");
    expect(page).not.toContain("undefined");
  });

  it("results of other data sets stand below", () => {
    const fashion = sample({ data: { name: "Fashion-MNIST", train: 1000, test: 500, files: [] } });
    expect([keep(fashion).name, keep(sample()).name]).toEqual(["eeprune", "eeprune-cifar10"]);
    expect(keep(fashion).value).not.toHaveProperty("toy");
    const results = new Map([["eeprune-cifar10", keep(sample()).value]]);
    const page = markdown(measured(schema.parse(keep(fashion).value), results));
    expect(page.match(/^### .*/gm)).toEqual(["### Fashion-MNIST", "### CIFAR-10"]);
  });

  it("nothing measured is said, not drawn", () => {
    const none = sample({ rows: [], brief: [], complement: [], places: [], head: [], noise: [], classes: [], toy: [] });
    const { headline, sections } = report(none);
    expect(headline.sentence).toContain("nothing was measured");
    expect(sections.every((section) => contentOf(section).every((part) => !part))).toBe(true);
  });
});

describe("its check", () => {
  it("passes what counts right", () => {
    expect(check(sample())).toMatch(/^eeprune: random 0.5 epochs 0.805/);
  });

  const { rows } = sample();
  const wrong: readonly [string, Partial<EepruneResult>][] = [
    ["samples that were not seen", { rows: rows.map((row) => ({ ...row, samplesSeen: 1950 })) }],
    ["a cost of choosing at random", { rows: rows.map((row) => ({ ...row, scoringCost: 2000 })) }],
    ["chance", { rows: rows.map((row) => ({ ...row, accuracy: 0.1 })) }],
    [
      "a class that loses more than it has",
      { classes: [{ seed: 1, method: "eeprune", ratio: 0.5, pruned: [99, 401] }] },
    ],
    ["a toy that forgets", { toy: sample().toy.toReversed() }],
  ];
  it.each(wrong)("throws at %s", (_, change) => {
    expect(() => check(sample(change))).toThrow();
  });
});
