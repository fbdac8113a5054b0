import { type Device, generator, openDevice, tensor, training } from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  briefRun,
  type Evidence,
  type LabelEvidence,
  pruneBy,
  pruningReport,
  rankLabelNoise,
  type Selection,
  scoreColumns,
} from "../src/index.ts";
import { ring, ringBackbone } from "./ring.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const columns = (rows: readonly (readonly number[])[], labels: readonly number[]) =>
  scoreColumns(tensor("float64", [rows.length, rows[0]!.length], rows.flat()), labels);

describe("label noise", () => {
  it("is where both exits agree against the label, the surest first", () => {
    const labels = [0, 0, 0, 1, 1];
    const evidence: LabelEvidence = {
      labels,
      classes: 2,
      ids: [9, 8, 7, 6, 5],
      early: columns(
        [
          [1, 0],
          [0, 2],
          [0, 1],
          [3, 0],
          [2, 0],
        ],
        labels,
      ),
      final: columns(
        [
          [1, 0],
          [0, 2],
          [1, 0],
          [3, 0],
          [0, 2],
        ],
        labels,
      ),
    };
    const found = rankLabelNoise(evidence);
    expect(found.map(({ id, label, answer }) => [id, label, answer])).toEqual([
      [6, 1, 0],
      [8, 0, 1],
    ]);
    expect(found[0]!.confidence).toBeCloseTo((1 / (1 + Math.exp(-3))) ** 2, 12);
  });

  it("finds labels that were flipped on purpose", async () => {
    const { x, y, labels } = ring(600);
    const random = generator(4);
    const flipped = new Set(random.permutation(600).subarray(0, 60));
    const wrong = tensor(
      "int64",
      [600],
      BigInt64Array.from(y.data, (label, i) =>
        flipped.has(i) ? (label + 1n + BigInt(random.integer(4))) % 5n : label,
      ),
    );
    const run = await briefRun(device, ringBackbone(), training.tensorDataset({ x, y: wrong }), {
      tap: "first",
      epochs: 20,
      batchSize: 50,
      generator: generator(1),
      learningRate: 0.05,
    });
    const suspects = rankLabelNoise(run);
    const right = suspects.slice(0, 40).filter(({ id }) => flipped.has(id));
    expect(right.length).toBeGreaterThan(36);
    for (const { id, answer } of right) expect(answer).toBe(labels[id]);
    expect(suspects.filter(({ id }) => flipped.has(id)).length).toBeGreaterThan(50);
  });

  it("is refused for columns that do not fit", () => {
    const scores = columns([[1, 0]], [0]);
    expect(() => rankLabelNoise(undefined as never)).toThrow(/evidence must be a record/);
    expect(() => rankLabelNoise({ labels: [0, 1], classes: 2, early: scores, final: scores })).toThrow(
      /early.prediction must have 2 elements/,
    );
    expect(() => rankLabelNoise({ labels: [0], classes: 2, early: scores } as never)).toThrow(
      /final.prediction must be a column/,
    );
    const unsure = { ...scores, confidence: Float64Array.of(Number.NaN) };
    expect(() => rankLabelNoise({ labels: [0], classes: 2, early: scores, final: unsure })).toThrow(
      /final.confidence must be from 0 to 1; got NaN in row 0/,
    );
  });
});

describe("the report", () => {
  const labels = [0, 0, 0, 0, 1, 1];
  const scores = columns(
    [
      [4, 0],
      [3, 0],
      [1, 0],
      [0, 3],
      [0, 2],
      [0, 1],
    ],
    labels,
  );
  const inputs = tensor("float32", [6, 2], [1, 2, 3, 4, 1, 2, 5, 6, 1, 2, 3, 4]);
  const evidence: Evidence = { labels, classes: 3, early: scores, final: scores, inputs };
  const selection = pruneBy("eeprune", evidence, { ratio: 0.5, generator: generator(1) });

  it("counts classes, and names what a person should look at", () => {
    expect([...selection.pruned]).toEqual([0, 1, 4]);
    expect(pruningReport(selection, evidence)).toEqual({
      classes: [
        { samples: 4, kept: 2, pruned: 2 },
        { samples: 2, kept: 1, pruned: 1 },
        { samples: 0, kept: 0, pruned: 0 },
      ],
      imbalance: 1,
      mostPrunable: [0, 1, 4],
      leastPrunable: [3, 2, 5, 4, 1, 0],
      labelErrors: [{ id: 3, label: 0, answer: 1, confidence: expect.closeTo((1 / (1 + Math.exp(-3))) ** 2, 12) }],
      duplicates: [
        { ids: [0, 2, 4], contradict: true },
        { ids: [1, 5], contradict: true },
      ],
    });
  });

  it("no class has more pruned than it has", () => {
    for (const ratio of [0.1, 0.4, 0.6]) {
      const chosen = pruneBy("random", evidence, { ratio, generator: generator(1), vanishing: "warn" });
      for (const { samples, kept, pruned } of pruningReport(chosen, evidence).classes) {
        expect(pruned).toBeLessThanOrEqual(samples);
        expect(kept + pruned).toBe(samples);
      }
    }
  });

  it("says less of less evidence, and names as many as asked", () => {
    const { mostPrunable, labelErrors, duplicates } = pruningReport(selection, { labels, classes: 2 });
    expect([mostPrunable, labelErrors, duplicates]).toEqual([[], [], []]);
    expect(pruningReport(selection, evidence, 1).leastPrunable).toEqual([3]);
  });

  it("is refused for other samples", () => {
    expect(() => pruningReport({} as Selection, evidence)).toThrow(/selection must be what a pruning function gave/);
    expect(() => pruningReport(selection, { labels: [0, 1], classes: 2 })).toThrow(
      /of the samples of the selection; got 2 samples for 6/,
    );
    expect(() => pruningReport(selection, { ...evidence, ids: [0, 1, 2, 3, 4, 7] })).toThrow(/got sample 7/);
  });
});
