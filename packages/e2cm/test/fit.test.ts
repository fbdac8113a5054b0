import { type Device, openDevice, rows, tensor } from "@exitkit/core-gpu";
import { NEVER, replay } from "@exitkit/early-exit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { argMaxRows } from "../src/decisions/score-record.ts";
import {
  accumulateStatistics,
  type Batch,
  type ClassMeansExit,
  exitRecord,
  type FitOptions,
  fit,
  fitFromStatistics,
  openClassifier,
  quantisedExits,
  recordScores,
  solveExits,
} from "../src/index.ts";
import { holdOut } from "../src/network/hold-out.ts";
import { batches, golden, tinyModel, trainedOn } from "./fixture.ts";
import { exampleNetwork, randomPictures } from "./networks.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

const model = tinyModel();
const train = batches("train", 24);
const test = batches("test", 60);
const pictures = test[0]!.x;
const fits = new Map<string, ReturnType<typeof fit>>();
/** Fits of the tiny network, each made once. */
function fitTiny(options: Partial<FitOptions> = {}): ReturnType<typeof fit> {
  const key = JSON.stringify(options);
  if (!fits.has(key)) fits.set(key, fit(model, train, { classes: 4, calibration: test, device, ...options }));
  return fits.get(key)!;
}
const together = (parts: readonly Batch[]) => parts.flatMap(({ y }) => Array.from(y));

async function plainAnswers(): Promise<readonly number[]> {
  const session = await device.load(model);
  const { logits } = await session.run({ x: pictures });
  await session.release();
  return [...argMaxRows(logits!.data as Float32Array, 4)];
}

describe("fit, openClassifier, classify", () => {
  it.each([
    ["shared covariance", {}],
    ["shared covariance, pooled", { features: "pooled" }],
    ["Euclidean", { metric: "euclidean" }],
    ["Euclidean, raw, normalised answers", { metric: "euclidean", rule: "raw", predictFrom: "normalised" }],
    ["Euclidean, nearest mean last", { metric: "euclidean", last: "nearestMean", rule: "perSampleMaximum" }],
  ] as const)("%s: answers as a replay of the record does", async (_, options) => {
    const fitted = await fitTiny(options);
    expect(fitted.exits.length).toBeGreaterThan(0);
    const record = exitRecord(fitted, await recordScores(model, fitted, test, { device }));
    const middle = record.confidences.slice(0, -1).map((own) => Float32Array.from(own).sort()[30]!);
    const points = [middle, ...fitted.operatingPoints.map(({ thresholds }) => thresholds)].slice(0, 6);
    let early = 0;
    for (const thresholds of points) {
      const classifier = await openClassifier(model, fitted, { thresholds, device });
      const live = await classifier.classify(pictures);
      await classifier.release();
      const expected = replay(record, thresholds, fitted.costs);
      // A threshold may be a recorded confidence itself, and the last places depend on the batch.
      const near = (i: number) =>
        thresholds.some((threshold, j) => Math.abs(record.confidences[j]![i]! - threshold) < 1e-5);
      for (let i = 0; i < record.n; i++) {
        if (near(i)) continue;
        expect([live.leftAt[i], live.predictions[i]]).toEqual([expected.leftAt[i], expected.predictions[i]]);
        expect(live.confidences[i]).toBeCloseTo(record.confidences[live.leftAt[i]!]![i]!, 4);
      }
      early += live.leftAt.filter((exit) => exit < fitted.exits.length).length;
    }
    expect(early).toBeGreaterThan(0);
  });

  it("with thresholds NEVER gives the plain network's answers", async () => {
    const fitted = await fitTiny();
    const classifier = await openClassifier(model, fitted, { thresholds: fitted.exits.map(() => NEVER), device });
    const { predictions, leftAt } = await classifier.classify(pictures);
    expect([...predictions]).toEqual(await plainAnswers());
    expect([...leftAt].every((exit) => exit === fitted.exits.length)).toBe(true);
    expect(classifier.expectedCost).toBeNull();
    await classifier.release();
  });

  it("honours aimedAccuracyLoss on the calibration samples, at the least cost", async () => {
    // Means of a single sample a class: early exits that err.
    const few = batches("train", 4).slice(0, 1);
    const fitted = await fit(model, few, { classes: 4, metric: "euclidean", calibration: test, device });
    const { fullAccuracy, samples: n, heldOut } = fitted.calibration!;
    expect([n, heldOut]).toEqual([60, false]);
    expect(fullAccuracy).toBeCloseTo(golden.accuracy.test / 60, 12);
    const costs: number[] = [];
    for (const loss of [0, 0.05, 0.3, 1]) {
      const classifier = await openClassifier(model, fitted, { aimedAccuracyLoss: loss, device });
      const { predictions } = await classifier.classify(pictures);
      const right = together(test).filter((label, i) => label === predictions[i]).length;
      await classifier.release();
      expect(right / 60).toBeGreaterThanOrEqual(fullAccuracy - loss - 1e-9);
      const allowed = fitted.operatingPoints.filter((point) => point.accuracy >= fullAccuracy - loss - 1e-9);
      expect(classifier.expectedCost).toBe(Math.min(...allowed.map(({ costFraction }) => costFraction)));
      costs.push(classifier.expectedCost!);
    }
    expect(costs).toEqual([...costs].sort((a, b) => b - a));
    expect(costs[3]).toBeLessThan(costs[0]!);
  });

  it("classifies one sample, none, and many at a time alike", async () => {
    const classifier = await openClassifier(model, await fitTiny(), { device });
    const { predictions } = await classifier.classify(pictures);
    for (const i of [0, 17, 59]) {
      expect([...(await classifier.classify(rows(pictures, i, i + 1))).predictions]).toEqual([predictions[i]]);
    }
    expect((await classifier.classify(tensor("float32", [0, 3, 8, 8]))).predictions).toHaveLength(0);
    await classifier.release();
  });
});

describe("what fit makes", () => {
  it("lets timers and sockets have their turn while it adds up and solves", async () => {
    const turns = { fit: 0, solve: 0 };
    let [passing, over]: ["fit" | "solve", boolean] = ["fit", false];
    const count = () => {
      if (over) return;
      turns[passing]++;
      setImmediate(count);
    };
    setImmediate(count);
    const onProgress = ({ pass }: { readonly pass: string }) => {
      passing = pass === "fit" ? "fit" : "solve";
    };
    const calibration = batches("test", 60);
    const { exits } = await fit(model, batches("train", 20), { classes: 4, calibration, device, onProgress });
    over = true;
    // Of every exit: once a class for the covariance, and once a class for each of three shrinkages.
    expect(turns.solve).toBeGreaterThan((exits.length - 1) * 4 * 4);
    expect(turns.fit).toBeGreaterThan(exits.length);
  });

  it("holds one of ten samples of each class out for calibration, and only those", async () => {
    const stream = batches("train", 4);
    // 240 samples: 24 of them are too few; thrice as long a stream gives 72.
    const thrice = [...stream, ...stream, ...stream];
    const fitted = await fit(model, thrice, { classes: 4, device });
    expect(fitted.calibration).toMatchObject({ samples: 72, heldOut: true });
    const held = holdOut(4);
    const rest = await trainedOn(held, thrice);
    const same = await fit(model, rest, { classes: 4, device, calibration: held.batches() });
    expect({ ...fitted, calibration: null }).toEqual({ ...same, calibration: null });
  });

  it("normalises by exact mean distances when the stream can be started anew", async () => {
    const options = { classes: 4, metric: "euclidean", calibration: test, device } as const;
    const exact = await fit(model, () => train, options);
    const near = await fit(model, train, options);
    const full = golden.exits.flatMap((exit) => {
      const at = (fitted: typeof exact) =>
        (fitted.exits as readonly ClassMeansExit[]).filter(({ map }) => map.d * 4 === exit.means.length * map.d);
      return [{ exit, exact: at(exact), near: at(near) }];
    });
    const closest = (exits: readonly ClassMeansExit[], wanted: readonly number[]) =>
      Math.min(...exits.map(({ distances }) => Math.max(...wanted.map((m, k) => Math.abs(distances[k]! / m - 1)))));
    for (const { exit, exact: own, near: other } of full) {
      expect(closest(own, exit.meanDistances)).toBeLessThan(1e-5);
      expect(closest(other, exit.rootMeanSquareDistances)).toBeLessThan(1e-5);
      expect(closest(other, exit.meanDistances)).toBeGreaterThan(1e-4);
    }
  });

  it("leaves the held-out batches out of the second pass too", async () => {
    const thrice = () => [0, 1, 2].flatMap(() => batches("train", 4));
    const passes: Record<string, number> = {};
    await fit(model, thrice, {
      classes: 4,
      metric: "euclidean",
      device,
      onProgress: (at) => {
        passes[at.pass] = at.pass === "solve" ? at.exits : at.samples;
      },
    });
    expect(passes).toEqual({ fit: 648, distances: 648, calibrate: 72 });
  });

  it("says which exit it has solved, and lets timers have their turn between exits", async () => {
    const solved: number[] = [];
    const turns: number[] = [];
    const timer = setInterval(() => turns.push(solved.length), 0);
    await fit(model, batches("train", 10), {
      classes: 4,
      calibration: batches("test", 60),
      device,
      onProgress: (at) => {
        if (at.pass === "solve") solved.push(at.exits);
      },
    });
    clearInterval(timer);
    expect(solved).toEqual([1, 2, 3]);
    expect(new Set(turns).size).toBeGreaterThan(2);
  });

  it("nearestMean answers by the means of the network's outputs", async () => {
    const fitted = await fitTiny({ metric: "euclidean", last: "nearestMean" });
    const scores = await recordScores(model, fitted, test, { device });
    const { means } = fitted.output as { means: Float32Array };
    const record = exitRecord(fitted, scores);
    const plain = await recordScores(model, { ...fitted, last: "head" }, test, { device });
    for (let i = 0; i < 60; i++) {
      const logits = plain.scores.at(-1)!.subarray(4 * i, 4 * i + 4);
      const distances = [0, 1, 2, 3].map((k) => Math.hypot(...logits.map((value, c) => value - means[k * 4 + c]!)));
      distances.forEach((distance, k) => {
        expect(scores.scores.at(-1)![4 * i + k]).toBeCloseTo(distance, 3);
      });
      expect(record.predictions.at(-1)![i]).toBe(distances.indexOf(Math.min(...distances)));
    }
  });

  it("puts exits where it should: few for shared covariance, after every block for Euclidean", async () => {
    const shared = await fitTiny();
    const euclidean = await fitTiny({ metric: "euclidean" });
    const fractions = (fitted: typeof shared) => fitted.costs.exits.map((cost) => cost / fitted.costs.full);
    expect(shared.exits.length).toBeLessThanOrEqual(3);
    expect(euclidean.exits.map(({ tap }) => tap)).toEqual(expect.arrayContaining(shared.exits.map(({ tap }) => tap)));
    expect(euclidean.exits.length).toBeGreaterThanOrEqual(4);
    expect(fractions(shared)).toEqual([...fractions(shared)].sort((a, b) => a - b));
    expect(shared.exits.every(({ map }) => map.kind === "moments")).toBe(true);
    expect(euclidean.exits.every(({ map }) => map.kind === "full")).toBe(true);
  });

  it("is the same in two halves: statistics, then fitFromStatistics", async () => {
    const whole = await fitTiny();
    const statistics = await accumulateStatistics(model, train, { classes: 4, device });
    expect(await fitFromStatistics(model, statistics, { calibration: test, device })).toEqual(whole);
    const solved = await solveExits(model, statistics, { shrinkage: 0.1, device });
    expect(solved.operatingPoints).toEqual([]);
    expect(solved.exits.map((exit) => "shrinkage" in exit && exit.shrinkage)).toEqual(solved.exits.map(() => 0.1));
  });

  it("quantises to within half a step of the largest weight of each class", async () => {
    for (const metric of ["sharedCovariance", "euclidean"] as const) {
      const fitted = await fitTiny({ metric });
      quantisedExits(fitted).exits.forEach((exit, index) => {
        const plain = fitted.exits[index]!;
        const [own, other, step] =
          exit.metric === "euclidean"
            ? [exit.means, (plain as typeof exit).means, (i: number) => Math.floor(i / exit.map.d)]
            : [exit.weights, (plain as typeof exit).weights, (i: number) => i % 4];
        const largest = [0, 0, 0, 0];
        other.forEach((value, i) => {
          largest[step(i)] = Math.max(largest[step(i)]!, Math.abs(value));
        });
        own.forEach((value, i) => {
          const limit = (0.501 * largest[step(i)]!) / 127;
          if (!(Math.abs(value - other[i]!) <= limit)) expect(Math.abs(value - other[i]!)).toBeLessThanOrEqual(limit);
        });
        expect(own).not.toEqual(other);
      });
    }
  });
});

describe("any single-input classifier, no operator known", () => {
  it.each(["vgg", "densenet", "mobilenet", "transformer", "resnet20"])("%s", { timeout: 30_000 }, async (name) => {
    const other = exampleNetwork(name);
    const calibration = randomPictures(60, 3);
    for (const metric of ["sharedCovariance", "euclidean"] as const) {
      const fitted = await fit(other, randomPictures(100, 2), { classes: 10, metric, calibration, device });
      expect(fitted.exits.length).toBeGreaterThan(0);
      const classifier = await openClassifier(other, fitted, { aimedAccuracyLoss: 1, device });
      const { thresholds } = classifier;
      const record = exitRecord(fitted, await recordScores(other, fitted, calibration, { device }));
      const expected = replay(record, thresholds, fitted.costs);
      let same = 0;
      for (const [index, { x, y }] of calibration.entries()) {
        const { predictions } = await classifier.classify(x);
        for (let i = 0; i < y.length; i++) if (predictions[i] === expected.predictions[index * 10 + i]) same++;
      }
      await classifier.release();
      expect(same).toBeGreaterThanOrEqual(59);
      expect(classifier.expectedCost).toBeCloseTo(expected.costFraction, 9);
      // The random patterns are told apart by exits in closed form, though not by the random network's own head.
      const accuracies = record.predictions
        .slice(0, -1)
        .map((own) => own.filter((c, i) => c === record.labels[i]).length);
      expect(Math.max(...accuracies)).toBeGreaterThan(20);
    }
  });
});
