import { tensor } from "@exitkit/core-gpu";
import { describe, expect, it } from "vitest";
import {
  chooseCut,
  type EpochColumns,
  type Evidence,
  generator,
  pruneBy,
  pruneByEarlyExit,
  scoreColumns,
} from "../src/index.ts";

/** n samples of three classes; `sure(i)` is the label's logit at the early exit, the others are 0. */
function evidenceOf(n: number, sure: (i: number) => number): Evidence & { readonly labels: Int32Array } {
  const labels = Int32Array.from({ length: n }, (_, i) => i % 3);
  const logits = (of: (i: number) => number) =>
    tensor(
      "float32",
      [n, 3],
      Float32Array.from({ length: 3 * n }, (_, at) =>
        at % 3 === labels[Math.floor(at / 3)] ? of(Math.floor(at / 3)) : 0,
      ),
    );
  const early = scoreColumns(logits(sure), labels);
  return {
    labels,
    classes: 3,
    early,
    final: scoreColumns(
      logits(() => 3),
      labels,
    ),
  };
}

const keptOf = (kept: Int32Array, k: number) => kept.filter((i) => i % 3 === k).length;

describe("quotas by difficulty", () => {
  // Wrong at the early exit: none of class 0, 40 of 100 of class 1, 80 of 100 of class 2.
  const wrong = [0, 40, 80];
  const evidence = evidenceOf(300, (i) => (Math.floor(i / 3) < wrong[i % 3]! ? -1 : 1 + i / 300));

  it("keep in proportion to how much of a class is wrong, and no more than there is", () => {
    // 1, 41 and 81 of 102 parts: of 60 kept 0.49, 20.0 and 39.5; class 2's cap comes with 150 kept.
    const options = { balanced: "byDifficulty", generator: generator(1), vanishing: "warn" } as const;
    const few = pruneBy("random", evidence, { ...options, ratio: 0.8 }).kept;
    expect([0, 1, 2].map((k) => keptOf(few, k))).toEqual([0, 20, 40]);
    const many = pruneBy("random", evidence, { ...options, ratio: 0.5 }).kept;
    // 150: class 2 would keep 99, class 1 50, class 0 1.
    expect([0, 1, 2].map((k) => keptOf(many, k))).toEqual([1, 50, 99]);
    const most = pruneBy("random", evidence, { ...options, ratio: 0.2 }).kept;
    // 240: class 2 keeps all its 100, then class 1, and class 0 the other 40.
    expect([0, 1, 2].map((k) => keptOf(most, k))).toEqual([40, 100, 100]);
  });

  it("of classes that are equally hard are equal ones", () => {
    const equal = evidenceOf(300, (i) => (i % 10 === 0 ? -1 : 1));
    const options = { ratio: 0.4, generator: generator(2) };
    const { kept } = pruneBy("el2n", equal, { ...options, balanced: "byDifficulty" });
    expect([0, 1, 2].map((k) => keptOf(kept, k))).toEqual([60, 60, 60]);
  });

  it("go with the criterion too, and the selection says so", () => {
    const { labels, early, final } = evidence;
    const columns = {
      labels,
      earlyPrediction: early!.prediction,
      finalPrediction: final!.prediction,
      earlyConfidence: early!.confidence,
    };
    const options = { classes: 3, ratio: 0.5, generator: generator(3), shortfall: "fillByEarlyConfidence" } as const;
    const { kept, method } = pruneByEarlyExit(columns, { ...options, balanced: "byDifficulty" });
    expect(method).toBe("eeprune, by difficulty");
    expect([0, 1, 2].map((k) => keptOf(kept, k))).toEqual([1, 50, 99]);
    expect(() => pruneByEarlyExit(columns, { ...options, balanced: "often" as never })).toThrow("balanced");
  });

  it("need the early exit, and say so", () => {
    const options = { ratio: 0.5, balanced: "byDifficulty", generator: generator(4) } as const;
    expect(() => pruneBy("random", { labels: evidence.labels, classes: 3 }, options)).toThrow(
      '"random, by difficulty" needs evidence.early',
    );
  });
});

describe("both ends", () => {
  const evidence = evidenceOf(100, (i) => i / 20 - 1);

  it("lose the hardest as asked and the easiest for the rest", () => {
    const { kept } = pruneBy("bothEnds", evidence, { ratio: 0.5, cut: 0.1, generator: generator(1) });
    expect([...kept]).toEqual(Array.from({ length: 50 }, (_, i) => 10 + i));
    const easiest = pruneBy("bothEnds", evidence, { ratio: 0.5, cut: 0, generator: generator(1) });
    expect([...easiest.kept]).toEqual(Array.from({ length: 50 }, (_, i) => i));
    const hardest = pruneBy("bothEnds", evidence, { ratio: 0.5, cut: 0.9, generator: generator(1) });
    expect([...hardest.kept]).toEqual(Array.from({ length: 50 }, (_, i) => 50 + i));
  });

  it("are cut where what was held out is answered best, of equals where least is cut", async () => {
    const useful = (kept: Int32Array) => kept.filter((i) => i >= 12 && i < 62).length;
    const asked: number[] = [];
    const chosen = await chooseCut(evidence, {
      ratio: 0.5,
      cuts: [0.3, 0, 0.12],
      generator: generator(1),
      judge: async (kept, cut) => {
        asked.push(cut);
        return useful(kept);
      },
    });
    expect(asked).toEqual([0, 0.12, 0.3]);
    expect(chosen.cut).toBe(0.12);
    expect(chosen.tried.map(({ score }) => score)).toEqual([38, 50, 32]);
    expect([...chosen.selection.kept]).toEqual(Array.from({ length: 50 }, (_, i) => 12 + i));
    const equal = await chooseCut(evidence, { ratio: 0.5, generator: generator(1), judge: () => 1 });
    expect([equal.cut, equal.tried.length]).toEqual([0, 4]);
  });

  it("refuse a cut above the ratio, a judge that gives no number and no judge", async () => {
    const options = { ratio: 0.5, generator: generator(1), judge: () => 1 };
    await expect(chooseCut(evidence, { ...options, cuts: [0.6] })).rejects.toThrow("at most the ratio 0.5; got 0.6");
    await expect(chooseCut(evidence, { ...options, judge: () => Number.NaN })).rejects.toThrow(
      "judge must give a number",
    );
    await expect(chooseCut(evidence, { ...options, judge: undefined as never })).rejects.toThrow("judge");
    await expect(chooseCut(evidence, { ...options, ratio: 2 })).rejects.toThrow("ratio");
  });
});

describe("confidences averaged over the last epochs", () => {
  const n = 6;
  const one = evidenceOf(n, (i) => i);
  const epoch = (sure: (i: number) => number, seen: (i: number) => boolean): EpochColumns => ({
    early: evidenceOf(n, sure).early!,
    final: one.final!,
    seen: Uint8Array.from({ length: n }, (_, i) => (seen(i) ? 1 : 0)),
  });
  const epochs = [
    epoch(
      () => 9,
      () => true,
    ),
    epoch(
      (i) => 5 - i,
      () => true,
    ),
    epoch(
      (i) => 7 - i,
      (i) => i !== 0,
    ),
  ];

  it("order samples by their means, over the epochs that saw them", () => {
    const evidence = { ...one, epochs };
    const prune = (averaged: number) => [
      ...pruneBy("earlyProbability", evidence, { ratio: 0.5, averaged, generator: generator(1) }).pruned,
    ];
    expect(prune(0)).toEqual([3, 4, 5]);
    expect(prune(2)).toEqual([0, 1, 2]);
    expect(pruneBy("eeprune", evidence, { ratio: 0.5, averaged: 2, generator: generator(1) }).pruned).toEqual(
      Int32Array.of(0, 1, 2),
    );
  });

  it("need so many epochs", () => {
    const prune = (evidence: Evidence, averaged: number) =>
      pruneBy("eeprune", evidence, { ratio: 0.5, averaged, generator: generator(1) });
    expect(() => prune(one, 1)).toThrow('"eeprune" needs evidence.epochs');
    expect(() => prune({ ...one, epochs }, 4)).toThrow("at most the number of epochs in the evidence; got 4 of 3");
  });
});
