import { generator, tensor } from "@exitkit/core-gpu";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  agreementFrontier,
  calibrate,
  concatRecords,
  type ExitRecord,
  fitAgreement,
  frontier,
  labelsOf,
  replay,
  selectRows,
  solveThresholds,
  unitRecord,
} from "../src/index.ts";
import { syntheticCosts, syntheticRecord } from "./records.ts";

/** Frames of h × w pixels of different difficulty: the pixels of a frame go wrong together. */
function frames(n: number, h: number, w: number, seed: number, spread = 1.5): ExitRecord {
  const random = generator(seed);
  const shape = [n, h, w];
  const size = n * h * w;
  const rows = () => ({ confidences: new Float32Array(size), predictions: new Int32Array(size) });
  const early = rows();
  const full = rows();
  const labels = new Uint8Array(size);
  for (let i = 0; i < n; i++) {
    const difficulty = spread * random.normal();
    for (let at = i * h * w; at < (i + 1) * h * w; at++) {
      labels[at] = random.integer(4);
      for (const [exit, ability] of [
        [early, 2],
        [full, 3.5],
      ] as const) {
        const margin = ability - difficulty + random.normal();
        exit.predictions[at] = random.uniform() < 1 / (1 + Math.exp(-margin)) ? labels[at]! : (labels[at]! + 1) % 4;
        exit.confidences[at] = 1 / (1 + Math.exp(-(margin + 0.5 * random.normal())));
      }
    }
  }
  return unitRecord({
    unit: "pixel",
    exits: [
      { name: "early", ...early },
      { name: "full", ...full },
    ],
    labels: tensor("uint8", shape, labels),
  });
}

const costs = { exits: [30, 101], full: 100 };

describe("records of units", () => {
  it("hold pixels of any shape, in the groups of the first dimension", () => {
    const record = frames(3, 2, 4, 1);
    expect([record.unit, record.n]).toEqual(["pixel", 24]);
    expect([...record.groups!]).toEqual([0, 1, 2].flatMap((frame) => Array(8).fill(frame)));
  });

  it("are read as samples are: everything but the groups is the same", () => {
    const samples = syntheticRecord(300, 3, 5);
    const { exits, confidences, predictions, labels } = samples;
    const shape = [3, 10, 10];
    const record = unitRecord({
      unit: "token",
      exits: exits.map((name, j) => ({
        name,
        confidences: tensor("float32", shape, confidences[j]!),
        predictions: BigInt64Array.from(predictions[j]!, BigInt),
      })),
      labels: tensor("int64", shape, BigInt64Array.from(labels, BigInt)),
    });
    const { unit, groups, ...same } = record;
    expect([unit, groups!.length]).toEqual(["token", 300]);
    expect(same).toEqual(samples);
    const price = syntheticCosts(3);
    const goal = { maxAccuracyLoss: 0.01 };
    expect(replay(record, [0.6, 0.7], price)).toEqual(replay(samples, [0.6, 0.7], price));
    expect(solveThresholds(record, price, goal)).toEqual(solveThresholds(samples, price, goal));
    expect(frontier(record, price)).toEqual(frontier(samples, price));
    expect(agreementFrontier(record, price, fitAgreement(record))).toEqual(
      agreementFrontier(samples, price, fitAgreement(samples)),
    );
  });

  it("leave out units that do not count, with what was said about them", () => {
    const labels = [1, 255, 0, 255, 1, 1];
    const record = unitRecord({
      unit: "pixel",
      exits: [{ name: "full", confidences: Float32Array.of(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), predictions: labels }],
      labels,
      groups: [7, 7, 7, 2, 2, 2],
      ignore: [255, 254],
    });
    expect([...record.labels]).toEqual([1, 0, 1, 1]);
    expect([...record.groups!]).toEqual([7, 7, 2, 2]);
    expect([...record.confidences[0]!].map((value) => value.toFixed(1))).toEqual(["0.1", "0.3", "0.5", "0.6"]);
  });

  it("keep arrays as they are where nothing is left out", () => {
    const { confidences, predictions, labels } = syntheticRecord(20, 1, 1);
    const record = unitRecord({
      unit: "sample",
      exits: [{ name: "full", confidences: confidences[0]!, predictions: predictions[0]! }],
      labels,
      ignore: 255,
    });
    expect(record.confidences[0]).toBe(confidences[0]);
    expect(record.labels).toBe(labels);
    expect("groups" in record || "unit" in record).toBe(false);
  });

  it("are joined with groups numbered anew, and picked with them", () => {
    const [one, two] = [frames(2, 1, 2, 1), frames(2, 1, 2, 2)];
    expect([...concatRecords([one, two]).groups!]).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
    expect([...selectRows(one, [3, 0]).groups!]).toEqual([1, 0]);
    const { groups: _, ...without } = two;
    expect(() => concatRecords([one, without])).toThrow(
      "every record must be of pixels in groups; got pixels without groups",
    );
  });

  it("refuse what does not fit", () => {
    const exits = [{ name: "full", confidences: new Float32Array(4), predictions: new Int32Array(4) }];
    const labels = tensor("int32", [2, 2], [0, 1, 0, 1]);
    const refused = (options: object, pattern: RegExp | string) =>
      expect(() => unitRecord({ unit: "pixel", exits, labels, ...options } as never)).toThrow(pattern);
    refused(
      { labels: new Int32Array(4) },
      "pixels must be told which frame or document they are a part of; got no groups",
    );
    refused({ labels: tensor("int32", [3, 2]) }, 'confidences of exit "full" must be as many as labels, 6; got 4');
    refused({ exits: [{ ...exits[0], confidences: [0, 0, 0, 0] }] }, 'confidences of exit "full" must be float32');
    refused(
      { labels: tensor("float32", [2, 2]) },
      "labels must be class indices: a list or typed array of whole numbers",
    );
    refused({ groups: [0, 0, 0, -1] }, "groups must be numbers ≥ 0; got −1 at pixel 3");
    refused({ ignore: [0, 1] }, "at least one pixel, n ≥ 1; got n = 0");
    refused({ unit: "voxel" }, /option "unit"/);
  });
});

describe("labels", () => {
  it.each([
    ["a list", [2, 0, 1]],
    ["Int32Array", Int32Array.of(2, 0, 1)],
    ["Uint8Array", Uint8Array.of(2, 0, 1)],
    ["Uint16Array", Uint16Array.of(2, 0, 1)],
    ["Uint32Array", Uint32Array.of(2, 0, 1)],
    ["Int8Array", Int8Array.of(2, 0, 1)],
    ["BigInt64Array", BigInt64Array.of(2n, 0n, 1n)],
    ["BigUint64Array", BigUint64Array.of(2n, 0n, 1n)],
    ["an int64 tensor", tensor("int64", [3], BigInt64Array.of(2n, 0n, 1n))],
    ["a uint8 tensor", tensor("uint8", [3, 1], Uint8Array.of(2, 0, 1))],
    ["a runtime's tensor", { dims: [3], type: "int64", data: BigInt64Array.of(2n, 0n, 1n) }],
  ])("are taken from %s", (_, labels) => {
    expect(labelsOf("test", "labels", labels)).toEqual(Int32Array.of(2, 0, 1));
  });

  it.each([
    [null, "got null."],
    [undefined, "got undefined."],
    [3, "got number."],
    ["012", "got string."],
    [Float32Array.of(1), "got Float32Array."],
    [tensor("float64", [1]), "got a tensor that holds Float64Array."],
    [[0.5], "labels must be whole numbers of 32 bits; got 0.5 at 0."],
    [["1"], "got a string at 0."],
    [BigInt64Array.of(1n << 40n), "got 1099511627776 at 0."],
  ])("are refused: %s", (labels, message) => {
    expect(() => labelsOf("test", "labels", labels as never)).toThrow(message);
  });
});

describe("thresholds with a guarantee for pixels", () => {
  it("are tested by groups: one draw a frame, whatever its pixels", async () => {
    const record = frames(400, 4, 4, 3);
    const goal = { risk: "disagreement", maxRisk: 0.1, random: generator(1) } as const;
    const found = await calibrate(record, costs, goal);
    expect(found.certified).toBe(true);
    expect(found.samples).toBe(280);
    const { groups: _, ...loose } = record;
    expect((await calibrate(loose, costs, { ...goal, random: generator(1) })).samples).toBe(280 * 16);
  });

  it("give what single-unit groups and samples give alike: the same draws", async () => {
    const samples = syntheticRecord(600, 3, 8);
    const single = { ...samples, groups: Int32Array.from({ length: 600 }, (_, i) => i) };
    const price = syntheticCosts(3);
    // Losses in {−1, 0, 1} are tested by betting either way.
    const goal = { risk: "loss", maxRisk: 0.05 } as const;
    const [grouped, plain] = await Promise.all(
      [single, samples].map((record) => calibrate(record, price, { ...goal, random: generator(4) })),
    );
    expect(grouped).toEqual(plain);
  });

  it("law: of 200 calibrations on new frames at most a share of δ exceed the risk; without groups far more", async () => {
    const [h, w] = [5, 5];
    const population = frames(2000, h, w, 11, 4);
    const path = Array.from({ length: 30 }, (_, step) => [1 - step / 30]);
    const size = h * w;
    const riskOf = (thresholds: readonly number[]) => 1 - replay(population, thresholds, costs).accuracy;
    const maxRisk = 0.25;
    const delta = 0.1;
    expect(riskOf([2])).toBeLessThan(maxRisk);
    const exceeded = { grouped: 0, loose: 0 };
    const random = generator(21);
    const runs = 200;
    for (let run = 0; run < runs; run++) {
      const rows = new Int32Array(40 * size);
      for (let draw = 0; draw < 40; draw++) {
        const frame = random.integer(2000);
        for (let at = 0; at < size; at++) rows[draw * size + at] = frame * size + at;
      }
      // A frame drawn twice is two draws.
      const groups = Int32Array.from(rows, (_, at) => Math.floor(at / size));
      const { groups: _, ...loose } = selectRows(population, rows);
      for (const [name, record] of [
        ["grouped", { ...loose, groups }],
        ["loose", loose],
      ] as const) {
        const found = await calibrate(record, costs, { risk: "error", maxRisk, delta, path, random: generator(run) });
        if (found.certified && riskOf(found.thresholds) > maxRisk) exceeded[name]++;
      }
    }
    // Three standard deviations of a share of 0.1.
    expect(exceeded.grouped / runs).toBeLessThanOrEqual(delta + 3 * Math.sqrt((delta * (1 - delta)) / runs));
    expect(exceeded.loose / runs).toBeGreaterThan(2 * delta);
  }, 60_000);

  it("law: units may come in any order", () =>
    fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 1000 }), async (seed) => {
        const record = frames(60, 1, 3, seed);
        const order = generator(seed).permutation(record.n);
        const mixed = selectRows(record, order);
        const goal = { risk: "harm", maxRisk: 0.2 } as const;
        const one = await calibrate(mixed, costs, { ...goal, path: [[0.9], [0.7], [0.5]], random: generator(2) });
        const two = await calibrate(record, costs, { ...goal, path: [[0.9], [0.7], [0.5]], random: generator(2) });
        // The draws differ in order, so the bets may; what is found of all is the same.
        expect([one.samples, two.samples]).toEqual([60, 60]);
        if (one.passed === two.passed) expect(one.risk).toBeCloseTo(two.risk, 12);
      }),
      { numRuns: 10 },
    ));
});
