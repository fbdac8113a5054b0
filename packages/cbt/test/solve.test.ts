import { generator, tensor } from "@exitkit/core-gpu";
import { describe, expect, it } from "vitest";
import {
  type PixelRecord,
  recordPixels,
  replayPixels,
  segmentationQuality,
  solveClassThresholds,
} from "../src/index.ts";

/** A record of three classes and two early exits whose probabilities say something; class 2 is hard for the first exit. */
function drawn(seed: number, n = 1500): PixelRecord {
  const random = generator(seed);
  const labels = Uint8Array.from({ length: n }, () => random.integer(3));
  const skill = [
    [0.85, 0.8, 0.3],
    [0.9, 0.9, 0.7],
    [0.97, 0.97, 0.95],
  ];
  const answers = skill.map((own) =>
    labels.map((label) => (random.uniform() < own[label]! ? label : (label + 1 + random.integer(2)) % 3)),
  );
  const confidences = [0, 1].map((exit) =>
    Float32Array.from(labels, (label, i) => (answers[exit]![i] === label ? 0.6 : 0.4) + 0.4 * random.uniform()),
  );
  return {
    classes: 3,
    n,
    frames: Int32Array.from({ length: n }, (_, i) => i % 12),
    labels,
    answers,
    predicted: answers.slice(0, 2),
    confidences,
  };
}

const costs = [1, 2, 4];
const costOf = (shares: readonly number[]) => shares.reduce((sum, share, exit) => sum + share * costs[exit]!, 0);
const miouOf = (record: PixelRecord, thresholds: readonly (readonly number[])[]) =>
  segmentationQuality(replayPixels(record, thresholds).confusion).miou;

describe("solveClassThresholds", () => {
  it.each([1, 2, 3])("keeps what was asked, and costs no more than the best single threshold, record %i", (seed) => {
    const record = drawn(seed);
    for (const maxLoss of [0, 0.01, 0.05]) {
      const solved = solveClassThresholds(record, { costs, maxLoss, folds: 1 });
      const replayed = replayPixels(record, solved.thresholds);
      // What it says is what replaying its thresholds gives.
      expect(segmentationQuality(replayed.confusion).miou).toBeCloseTo(solved.miou, 12);
      expect(costOf(replayed.shares)).toBeCloseTo(solved.meanCost, 9);
      expect(solved.fullMiou).toBeCloseTo(
        miouOf(record, [
          [2, 2, 2],
          [2, 2, 2],
        ]),
        12,
      );
      expect(solved.miou).toBeGreaterThanOrEqual(solved.fullMiou - maxLoss);
      let single = 4;
      for (let t = 0.4; t <= 1; t += 0.005) {
        const same = [
          [t, t, t],
          [t, t, t],
        ];
        if (miouOf(record, same) >= solved.fullMiou - maxLoss)
          single = Math.min(single, costOf(replayPixels(record, same).shares));
      }
      expect(solved.meanCost).toBeLessThanOrEqual(single + 0.02);
    }
  });

  it("comes near the best of all thresholds on a grid (brute force, one early exit)", () => {
    const whole = drawn(5, 400);
    const record: PixelRecord = {
      ...whole,
      answers: [whole.answers[0]!, whole.answers[2]!],
      predicted: [whole.predicted[0]!],
      confidences: [whole.confidences[0]!],
    };
    const solved = solveClassThresholds(record, { costs: [1, 4], maxLoss: 0.02, folds: 1, bins: 12 });
    let best = 4;
    const grid = Array.from({ length: 14 }, (_, step) => (step === 13 ? 2 : 0.4 + step * 0.05));
    for (const a of grid) {
      for (const b of grid) {
        for (const c of grid) {
          const { confusion, shares } = replayPixels(record, [[a, b, c]]);
          if (segmentationQuality(confusion).miou >= solved.fullMiou - 0.02)
            best = Math.min(best, shares[0]! + 4 * shares[1]!);
        }
      }
    }
    expect(solved.meanCost).toBeLessThanOrEqual(best + 0.15);
  });

  it("folds fit the frames less closely: never cheaper than without", () => {
    for (const seed of [1, 2, 3]) {
      const free = solveClassThresholds(drawn(seed), { costs, maxLoss: 0.01, folds: 1 });
      const held = solveClassThresholds(drawn(seed), { costs, maxLoss: 0.01, folds: 4 });
      expect(held.miou).toBeGreaterThanOrEqual(held.fullMiou - 0.01);
      expect(held.meanCost).toBeGreaterThanOrEqual(free.meanCost - 0.05);
    }
  });

  it.each<[string, () => unknown, RegExp]>([
    ["no record", () => solveClassThresholds(undefined as never, { costs, maxLoss: 0 }), /must hold pixels.*undefined/],
    [
      "costs of other exits",
      () => solveClassThresholds(drawn(1), { costs: [1, 2], maxLoss: 0 }),
      /3 rising numbers; got \[1, 2\]/,
    ],
    ["falling costs", () => solveClassThresholds(drawn(1), { costs: [3, 2, 1], maxLoss: 0 }), /3 rising numbers/],
    ["no options", () => solveClassThresholds(drawn(1), undefined as never), /"costs"/],
    [
      "thresholds of other classes",
      () => replayPixels(drawn(1), [[1], [1]]),
      /\[2\]\[3\] numbers; got \[\[1\],\[1\]\]/,
    ],
    [
      "thresholds without a record",
      () => replayPixels(undefined as never, []),
      /what recordPixels gives; got undefined/,
    ],
  ])("refuses %s", (_, run, message) => {
    expect(run).toThrow(message);
  });
});

describe("recordPixels", () => {
  it("takes answers from resized logits and confidences from the exit's own grid, by hand", async () => {
    const coarse = tensor("float32", [1, 2, 1, 2], [4, -1, 0, 0]);
    const fine = tensor("float32", [1, 2, 1, 4], [0, 0, 0, 0, 1, 1, -1, 1]);
    const labels = tensor("uint8", [1, 1, 4], [0, 0, 1, 255]);
    const record = await recordPixels([{ logits: [coarse, fine], labels }], { classes: 2, every: 1, levels: 0 });
    expect([...record.labels]).toEqual([0, 0, 1]);
    // Logits of class 0 at the four pixels: 4, 2.75, .25, −1.
    expect(record.answers.map((own) => [...own])).toEqual([
      [0, 0, 0],
      [1, 1, 0],
    ]);
    expect([...record.predicted[0]!]).toEqual([0, 0, 1]);
    const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
    [4, 4, 1].forEach((logit, i) => {
      expect(record.confidences[0]![i]).toBeCloseTo(sigmoid(logit), 6);
    });
    await expect(recordPixels([], { classes: 2 })).rejects.toThrow(/at least one batch/);
  });
});
