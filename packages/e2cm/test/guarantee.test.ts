import { type Device, generator, openDevice } from "@exitkit/core-gpu";
import { cheapestGuarded, cheapestWithin, NEVER, samplesNeeded } from "@exitkit/early-exit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  accumulateStatistics,
  type ClassMeansExit,
  calibrateExits,
  exitRecord,
  type FittedExits,
  fit,
  openClassifier,
  recordScores,
  solveExits,
} from "../src/index.ts";
import { batches, tinyModel } from "./fixture.ts";

const model = tinyModel();
const test = batches("test", 60);
const [{ x, y }] = test as [ReturnType<typeof batches>[number]];
/** Samples seen over and over: enough of them to certify something. */
const often = Array.from({ length: 30 }, () => test).flat();

let device: Device;
let fitted: FittedExits;
beforeAll(async () => {
  device = await openDevice("cpu");
  fitted = await fit(model, batches("train", 60), { classes: 4, calibration: often, device });
});
afterAll(() => device.close());

async function opened(own: FittedExits, options: object = {}) {
  const classifier = await openClassifier(model, own, { device, ...options });
  await classifier.release();
  return classifier;
}

describe("openClassifier", () => {
  it.each([undefined, 0.02, 0.2])(
    "keeps a loss of %s with the probability stated, and says its price",
    async (loss) => {
      const { thresholds, expectedCost, guarantee } = await opened(
        fitted,
        loss === undefined ? {} : { maxAccuracyLoss: loss },
      );
      const allowed = loss ?? 0.01;
      const point = cheapestGuarded(fitted.guarded!, allowed)!;
      expect([thresholds, expectedCost]).toEqual([point.thresholds, point.costFraction]);
      expect(point.lossBound).toBeLessThanOrEqual(allowed);
      const aimed = cheapestWithin(fitted.operatingPoints, fitted.calibration!.fullAccuracy - allowed)!;
      expect(guarantee).toMatchObject({
        certified: true,
        lossBound: point.lossBound,
        probability: 0.9,
        leavesEarly: true,
        price: point.costFraction - aimed.costFraction,
      });
      expect(guarantee.words).toMatch(
        /^At most (1 point|2 points|20 points) of accuracy are lost on new samples, with probability 0\.9, tested on 1260 calibration samples\. \d\.\d\d of the plain network's MACs; -?\d\.\d\d more than /,
      );
    },
  );

  it("lets nothing leave early where nothing is certified, and says so and how many it takes", async () => {
    const few = await fit(model, batches("train", 60), { classes: 4, calibration: test, device });
    const { thresholds, guarantee } = await opened(few);
    expect(thresholds).toEqual(few.exits.map(() => NEVER));
    expect(guarantee).toMatchObject({ certified: true, lossBound: 0, leavesEarly: false });
    expect(guarantee.words).toContain(
      `Nothing leaves early: a loss of at most 1 point could not be guaranteed with probability 0.9 by 42 testing calibration samples; it takes at least ${samplesNeeded(0.01)}, some ${Math.ceil(samplesNeeded(0.01) / 0.7)} calibration samples in all.`,
    );
    expect(guarantee.words).toContain("aimedAccuracyLoss");
  });

  it("aims, without a guarantee, where it is told to", async () => {
    const { thresholds, expectedCost, guarantee } = await opened(fitted, { aimedAccuracyLoss: 0.01 });
    const point = cheapestWithin(fitted.operatingPoints, fitted.calibration!.fullAccuracy - 0.01)!;
    expect([thresholds, expectedCost]).toEqual([point.thresholds, point.costFraction]);
    expect(guarantee).toMatchObject({ certified: false, lossBound: null, probability: null, price: null });
    expect(guarantee.words).toMatch(/^Aimed at a loss of 1 point, .* 1800 calibration samples .* it may lose more\.$/);
    const own = await opened(fitted, { thresholds: fitted.exits.map(() => 0.5) });
    expect(own.guarantee.words).toBe("Nothing is known of the accuracy that thresholds of one's own lose.");
  });

  it("has no guarantee where all calibration samples say which are rejected", async () => {
    const reject = { quantile: 0.9, by: "probability" } as const;
    const rejecting = await fit(model, batches("train", 60), { classes: 4, calibration: test, reject, device });
    expect(rejecting.guarded).toBeNull();
    await expect(openClassifier(model, rejecting, { device })).rejects.toThrow(
      "calibrated exits with a guarantee; got none, as all calibration samples say which are rejected. Pass aimedAccuracyLoss",
    );
    expect((await opened(rejecting, { aimedAccuracyLoss: 0.05 })).guarantee.certified).toBe(false);
  });

  it("says that samples held out of training are not new ones, and takes one choice", async () => {
    const again = Array.from({ length: 30 }, () => batches("train", 20)).flat();
    const own = await fit(model, again, { classes: 4, delta: 0.2, device });
    const { guarantee } = await opened(own, { maxAccuracyLoss: 0.05 });
    expect(guarantee.probability).toBe(0.8);
    expect(guarantee.words).toContain("like those held out of the training batches");
    await expect(openClassifier(model, own, { maxAccuracyLoss: 0.1, aimedAccuracyLoss: 0.1, device })).rejects.toThrow(
      "one of maxAccuracyLoss, aimedAccuracyLoss and thresholds; got 2 of them",
    );
  });
});

describe("calibrateExits", () => {
  const next = (label: number) => (label + 1) % 4;
  let right: FittedExits;
  beforeAll(async () => {
    const statistics = await accumulateStatistics(model, batches("train", 60), {
      classes: 4,
      metric: "euclidean",
      device,
    });
    right = await solveExits(model, statistics, { metric: "euclidean", device });
  });
  /** The same means under the names of the classes after. */
  const turned = (exit: ClassMeansExit): ClassMeansExit => {
    const turn = (values: Float32Array) => {
      const d = values.length / 4;
      return Float32Array.from({ length: values.length }, (_, at) => values[(at + 3 * d) % values.length]!);
    };
    return { ...exit, means: turn(exit.means), distances: turn(exit.distances) };
  };
  const all = () => right.exits as readonly ClassMeansExit[];
  const calibrated = (candidates: readonly FittedExits[], labels: Int32Array) =>
    calibrateExits(model, candidates, { calibration: [{ x, y: labels }], device });

  it("looks at no sample that tests when it chooses", async () => {
    const choosing = new Set(generator(2).permutation(60).slice(0, 18));
    // Right for those that choose; for those that test the classes after are right.
    const labels = Int32Array.from(y, (label, i) => (choosing.has(i) ? label : next(label)));
    const wrong = { ...right, exits: all().map(turned) };
    const chosen = await calibrated([wrong, right], labels);
    expect(chosen.exits).toEqual(right.exits);
    expect(chosen.guarded!.samples).toBe(42);
  });

  it("leaves out an exit that is no better than the most frequent class, and says so", async () => {
    const [first, ...others] = all();
    const found = await calibrated([{ ...right, exits: [turned(first!), ...others] }], Int32Array.from(y));
    expect(found.exits).toEqual(others);
    expect(found.costs.exits).toHaveLength(others.length + 1);
    expect(found.calibration!.notes[0]).toMatch(
      new RegExp(
        `^Exit "${first!.tap}" \\(\\d+ of 18 right\\) was left out: answering the most frequent class every time is right \\d+ times\\.$`,
      ),
    );
  });

  it("keeps one where all are of no use, and says so", async () => {
    const found = await calibrated([{ ...right, exits: all().map(turned) }], Int32Array.from(y));
    expect(found.exits).toHaveLength(1);
    expect(found.calibration!.notes.at(-1)).toMatch(
      /is of no use: answering the most frequent class .* check the labels\.$/,
    );
  });

  it("says that the network is worse than its own exit", async () => {
    const record = exitRecord(right, await recordScores(model, right, test, { device }));
    const labels = record.predictions[0]!;
    const found = await calibrated([right], labels);
    const differs = labels.some((label, i) => label !== record.predictions.at(-1)![i]);
    expect(differs).toBe(true);
    expect(found.calibration!.notes.join()).toMatch(
      new RegExp(`The network is worse than its own exit "${all()[0]!.tap}": \\d+ against 60 of 60 right\\.`),
    );
  });
});
