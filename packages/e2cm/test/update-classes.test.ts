import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Device, generator, openDevice, proposeCuts, rows } from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  accumulateStatistics,
  type Batch,
  type ClassMeansExit,
  type ClassStatistics,
  calibrateExits,
  exitRecord,
  type FittedExits,
  fit,
  loadExits,
  mergeStatistics,
  openClassifier,
  recordScores,
  saveExits,
  solveExits,
  updateClasses,
  withMoreClasses,
} from "../src/index.ts";
import { batches, tinyModel } from "./fixture.ts";

const model = tinyModel();
const proposed = proposeCuts(model);
const taps = [proposed[0]!, proposed.at(-1)!, "logits"];
/** Every sample alone: 240 of 4 classes. */
const single: readonly Batch[] = batches("train", 1);
const ofClasses = (...labels: number[]) => single.filter(({ y }) => labels.includes(y[0]!));

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

const sums = (from: readonly Batch[], classes: number, metric: "euclidean" | "sharedCovariance" = "euclidean") =>
  accumulateStatistics(model, from, { classes, outputs: 4, metric, taps, device });
const solve = (statistics: ClassStatistics, metric: "euclidean" | "sharedCovariance" = "euclidean") =>
  solveExits(model, statistics, { metric, last: "nearestMean", device });

/** All numbers of exits by class means. */
const numbers = ({ exits, output, counts }: FittedExits) => ({
  means: [...exits, output!].map((exit) => (exit as ClassMeansExit).means),
  distances: [...exits, output!].map((exit) => (exit as ClassMeansExit).distances),
  squares: [...exits, output!].map((exit) => (exit as ClassMeansExit).meanSquare!),
  counts,
});

function expectClose(a: FittedExits, b: FittedExits, tolerance: number): void {
  const [left, right] = [numbers(a), numbers(b)];
  expect(left.counts).toEqual(right.counts);
  for (const key of ["means", "distances"] as const) {
    left[key].forEach((values, exit) => {
      const other = right[key][exit]!;
      expect(values.length).toBe(other.length);
      const scale = other.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      values.forEach((value, i) => {
        expect(Math.abs(value - other[i]!)).toBeLessThan(tolerance * scale);
      });
    });
  }
  left.squares.forEach((value, exit) => {
    expect(Math.abs(value / right.squares[exit]! - 1)).toBeLessThan(tolerance);
  });
  expect(a.costs).toEqual(b.costs);
}

describe("updateClasses", () => {
  it("gives what fitting with the class from the start gives, means, normalisers and costs", async () => {
    const three = await solve(await sums(ofClasses(0, 1, 2), 3));
    const four = updateClasses(three, await sums(ofClasses(3), 4));
    expectClose(four, await solve(await sums(single, 4)), 2e-6);
    expect(four).toMatchObject({ classes: 4, last: "nearestMean", rejection: null, operatingPoints: [] });
    expect(three.classes).toBe(3);
  });

  it("in any order, one sample at a time, of new and old classes", async () => {
    const start = await solve(await sums([...ofClasses(0, 1), ...ofClasses(2).slice(0, 20)], 3));
    const later = [...ofClasses(3).slice(0, 12), ...ofClasses(2).slice(20, 32)];
    const whole = updateClasses(start, await sums(later, 4));
    for (const seed of [1, 2]) {
      const order = [...generator(seed).permutation(later.length)];
      // A new class must have a sample when it is named.
      order.sort((a, b) => Number(b === 0) - Number(a === 0));
      let stepwise = start;
      for (const index of order) stepwise = updateClasses(stepwise, await sums([later[index]!], 4));
      expectClose(stepwise, whole, 1e-5);
    }
    const ends = await solve(
      await sums([...ofClasses(0, 1), ...ofClasses(2).slice(0, 32), ...ofClasses(3).slice(0, 12)], 4),
    );
    expectClose(whole, ends, 2e-6);
  });

  it("leaves the means of classes without new samples as they are, bit for bit", async () => {
    const three = await solve(await sums(ofClasses(0, 1, 2), 3));
    const four = updateClasses(three, await sums(ofClasses(3).slice(0, 1), 4));
    three.exits.forEach((exit, index) => {
      const { means } = exit as ClassMeansExit;
      expect((four.exits[index] as ClassMeansExit).means.subarray(0, means.length)).toEqual(means);
    });
  });

  it("keeps the ratio of mean distances to root mean square ones; a new class has the usual one", async () => {
    const again = () =>
      batches("train", 40).map(({ x, y }) => ({ x, y: Array.from(y, (label) => Math.min(label, 2)) }));
    const exits = await fit(model, again, {
      classes: 3,
      outputs: 4,
      metric: "euclidean",
      last: "nearestMean",
      taps: taps.slice(0, 2),
      calibration: again(),
      device,
    });
    const rooted = await solve(await sums(again(), 3));
    const further = await sums(ofClasses(3).slice(0, 5), 4);
    const [mean, root] = [updateClasses(exits, further), updateClasses(rooted, further)].map(numbers);
    mean!.distances.forEach((row, exit) => {
      const before = numbers(exits).distances[exit]!;
      const rootBefore = numbers(rooted).distances[exit]!;
      const ratios = [...before].map((distance, c) => distance / rootBefore[c]!);
      expect(ratios.every((ratio) => ratio < 1)).toBe(true);
      row.forEach((distance, c) => {
        const ratio = ratios[c] ?? ratios.reduce((sum, value) => sum + value / 3, 0);
        expect(distance / root!.distances[exit]![c]!).toBeCloseTo(ratio, 5);
      });
    });
  });

  it("answers the new class, saved and loaded, staged and recorded alike", async () => {
    const three = await solve(await sums(ofClasses(0, 1, 2), 3));
    const wider = updateClasses(three, await sums(ofClasses(3).slice(0, 20), 4));
    const test = batches("test", 60);
    const ready = await calibrateExits(model, [wider], { calibration: test, reject: { quantile: 0.9 }, device });
    const folder = await mkdtemp(join(tmpdir(), "update-test-"));
    await saveExits(join(folder, "wider"), ready);
    const loaded = await loadExits(join(folder, "wider"));
    await rm(folder, { recursive: true });
    expect(loaded).toEqual(ready);
    const record = exitRecord(loaded, await recordScores(model, loaded, test, { device }));
    const { labels } = record;
    const right = record.predictions.at(-1)!.filter((answer, i) => labels[i] === 3 && answer === 3).length;
    expect(right).toBeGreaterThan(10);
    const classifier = await openClassifier(model, loaded, { thresholds: [2, 2], device });
    const { predictions } = await classifier.classify(test[0]!.x);
    expect([...predictions]).toEqual([...record.predictions.at(-1)!]);
    await classifier.release();
  });

  it("further classes can follow", async () => {
    const two = await solve(await sums(ofClasses(0, 1), 2));
    const three = updateClasses(two, await sums(ofClasses(2), 3));
    const four = updateClasses(three, await sums(ofClasses(3), 4));
    expectClose(four, await solve(await sums(single, 4)), 4e-6);
  });
});

describe("withMoreClasses", () => {
  it.each(["euclidean", "sharedCovariance"] as const)(
    "lets %s exits be solved again from kept sums",
    async (metric) => {
      const [old, fresh] = [await sums(ofClasses(0, 1, 2), 3, metric), await sums(ofClasses(3), 4, metric)];
      const merged = mergeStatistics(withMoreClasses(old, 4), fresh);
      const other = mergeStatistics(fresh, withMoreClasses(old, 4));
      expect(merged).toEqual(other);
      const test = batches("test", 60);
      const [online, whole] = [await solve(merged, metric), await solve(await sums(single, 4, metric), metric)];
      const [a, b] = [
        await recordScores(model, online, test, { device }),
        await recordScores(model, whole, test, { device }),
      ];
      a.scores.forEach((row, exit) => {
        const scale = b.scores[exit]!.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        row.forEach((value, i) => {
          expect(Math.abs(value - b.scores[exit]![i]!)).toBeLessThan(1e-3 * scale);
        });
      });
    },
  );

  it("refuses fewer classes than there are", async () => {
    const statistics = await sums(ofClasses(0, 1, 2), 3);
    for (const classes of [2, 3.5, Number.NaN]) {
      expect(() => withMoreClasses(statistics, classes)).toThrow(/^e2cm\.withMoreClasses: .*≥ the 3 there are; got/);
    }
    expect(() => mergeStatistics(statistics, withMoreClasses(statistics, 4))).toThrow(/number of classes; got 3 and 4/);
  });
});

describe("updateClasses refuses", () => {
  it("what it cannot do, and says what can be done", async () => {
    const few = await sums(ofClasses(3).slice(0, 2), 4);
    const three = await solve(await sums(ofClasses(0, 1, 2), 3));
    const says = (exits: FittedExits, statistics: ClassStatistics, pattern: RegExp) =>
      expect(() => updateClasses(exits, statistics)).toThrow(pattern);
    const shared = await solve(await sums(ofClasses(0, 1, 2), 3, "sharedCovariance"), "sharedCovariance");
    says(shared, few, /must be Euclidean class means; got exits with a shared covariance.*mergeStatistics/);
    const head = await solveExits(model, await sums(single, 4), { metric: "euclidean", device });
    const dark = single.slice(0, 3).map(({ x }) => ({ x: rows(x, 0, 1), y: [4] }));
    says(
      head,
      await sums(dark, 5),
      /last exit must be able to answer class 4; got the network's own head.*nearestMean/,
    );
    says(three, await sums(ofClasses(0), 4), /every new class needs at least one sample; got none of class 3/);
    says(three, await sums(ofClasses(0, 1), 2), /at least 3 classes and of 4 outputs; got 2 classes/);
    says({ ...three, modelHash: "0".repeat(64) }, few, /fitted on the model with sha256 0000/);
    says({ ...three, counts: null }, few, /how many samples .*; got exits saved by an older version/);
    says(three, { ...few, exits: few.exits.slice(0, 2) }, /statistics at the same exits.*output \(4\)/);
    expect(
      updateClasses(head, await sums(ofClasses(3).slice(0, 2), 4)).counts,
      "old classes can be refined with a head",
    ).toEqual([60, 60, 60, 62]);
  });
});
