import { type Device, generator, openDevice, type Tensor, tensor } from "@exitkit/core-gpu";
import { REJECTED } from "@exitkit/early-exit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { halvesOf } from "../src/decisions/rejection.ts";
import {
  accumulateStatistics,
  type ClassMeansExit,
  type ClassStatistics,
  calibrateExits,
  exitRecord,
  type FittedExits,
  recordScores,
  solveExits,
} from "../src/index.ts";
import { batches, tinyModel } from "./fixture.ts";
import { twoLayers } from "./networks.ts";

const model = tinyModel();
const [{ x, y }] = batches("test", 60) as [ReturnType<typeof batches>[number]];
const labels = Int32Array.from(y);
/** The class after. */
const next = (label: number) => (label + 1) % 4;

let device: Device;
let statistics: Record<"euclidean" | "sharedCovariance", ClassStatistics>;
let right: FittedExits;
/** The same means under the names of the classes after. */
let wrong: FittedExits;

beforeAll(async () => {
  device = await openDevice("cpu");
  const of = (metric: "euclidean" | "sharedCovariance") =>
    accumulateStatistics(model, batches("train", 60), { classes: 4, metric, device });
  statistics = { euclidean: await of("euclidean"), sharedCovariance: await of("sharedCovariance") };
  right = await solveExits(model, statistics.euclidean, { metric: "euclidean", device });
  const turned = (values: Float32Array) => {
    const d = values.length / 4;
    return Float32Array.from({ length: values.length }, (_, at) => values[(at + 3 * d) % values.length]!);
  };
  wrong = {
    ...right,
    exits: (right.exits as readonly ClassMeansExit[]).map((exit) => ({
      ...exit,
      means: turned(exit.means),
      distances: turned(exit.distances),
    })),
  };
});
afterAll(() => device.close());

const calibrated = (candidates: readonly FittedExits[], own: Int32Array, reject?: object) =>
  calibrateExits(model, candidates, { calibration: [{ x, y: own }], device, ...(reject && { reject }) });

describe("calibrateExits chooses", () => {
  it.each(["raw", "normalised"] as const)(
    "the means that are nearest, answering from %s distances",
    async (predictFrom) => {
      const candidates = [wrong, right].map((fitted) => ({ ...fitted, predictFrom }));
      expect((await calibrated(candidates, labels)).exits).toEqual(right.exits);
      expect((await calibrated([...candidates].reverse(), labels)).exits).toEqual(right.exits);
      expect((await calibrated(candidates, labels.map(next))).exits).toEqual(wrong.exits);
    },
  );

  it("with reject, on the half that scales alone", async () => {
    const { scaling, testing } = halvesOf(60);
    for (const [half, chosen] of [
      [testing, right],
      [scaling, wrong],
    ] as const) {
      const own = Int32Array.from(labels);
      for (const i of half) own[i] = next(own[i]!);
      for (const candidates of [
        [right, wrong],
        [wrong, right],
      ]) {
        const fitted = await calibrated(candidates, own, { by: "probability", quantile: 0.9 });
        expect(fitted.exits).toEqual(chosen.exits);
      }
    }
  });

  it("shrinkages, exit by exit", async () => {
    const solved = await Promise.all(
      [0.01, 0.9].map((shrinkage) => solveExits(model, statistics.sharedCovariance, { shrinkage, device })),
    );
    const fitted = await calibrated(solved, labels);
    const rightOf = async (exits: FittedExits) =>
      exitRecord(exits, await recordScores(model, exits, [{ x, y: labels }], { device })).predictions.map(
        (answers) => answers.filter((answer, i) => answer === labels[i]).length,
      );
    const [a, b, best] = await Promise.all([...solved, fitted].map(rightOf));
    expect(best).toEqual(a!.map((count, exit) => Math.max(count, b![exit]!)));
  });

  it("not among candidates that differ in anything else", async () => {
    const outputs = async (metric: "euclidean" | "sharedCovariance", size: number) => {
      const exits = [...right.exits.map(({ tap }) => tap), "logits"];
      const settings = { classes: 4, metric, features: "full", taps: exits, device } as const;
      return solveExits(model, await accumulateStatistics(model, batches("train", size).slice(0, 1), settings), {
        metric,
        device,
      });
    };
    const [means, others] = [await outputs("euclidean", 240), await outputs("euclidean", 120)];
    const refused = (first: FittedExits, second: FittedExits, pattern: RegExp) =>
      expect(calibrated([first, second], labels)).rejects.toThrow(pattern);
    await refused(
      right,
      { ...right, rule: "raw" },
      /^e2cm\.calibrateExits: all candidates must have the same rule; got normalised and raw\. Solve all/,
    );
    await refused(right, { ...right, predictFrom: "normalised" }, /the same predictFrom; got raw and normalised/);
    await refused(right, { ...right, exits: right.exits.slice(1) }, /the same exits; got euclidean at/);
    await refused(right, { ...right, classes: 5 }, /the same classes; got 4 and 5/);
    await refused(
      right,
      { ...right, counts: [60, 60, 60, 61] },
      /the same counts; got 60, 60, 60, 60 and 60, 60, 60, 61/,
    );
    await refused(means, { ...means, last: "nearestMean" }, /the same last; got head and nearestMean/);
    await refused(means, { ...means, output: null }, /the same output; got euclidean of 16 numbers and none/);
    await refused(means, { ...others, counts: means.counts }, /the same output; got other class means/);
  });
});

it("rejects a known sample with a probability of at most 1 − q, whichever candidates the calibration samples chose", async () => {
  // A population of samples in three unlike classes, two of them common; what is drawn from it is exchangeable.
  const network = twoLayers();
  const random = generator(3);
  const spread = [0.4, 0.8, 2];
  const draw = (n: number): { x: Tensor<"float32">; y: Int32Array } => {
    const y = Int32Array.from({ length: n }, (_, i) => [0, 1, 0, 1, 2][i % 5]!);
    const data = Array.from(y, (label) =>
      [0, 1, 2, 3].map((i) => (i === label ? 3 : 0) + spread[label]! * random.normal()),
    );
    return { x: tensor("float32", [n, 4], data.flat()), y };
  };
  const population = draw(400);
  const exits = await accumulateStatistics(network, [draw(100)], {
    classes: 3,
    features: "full",
    taps: ["first", "logits"],
    device,
  });
  const candidates = await Promise.all(
    ["analytic" as const, 0.01, 0.9].map((shrinkage) => solveExits(network, exits, { shrinkage, device })),
  );
  const [n, rounds, quantile] = [60, 60, 0.9];
  let rejected = 0;
  for (let round = 0; round < rounds; round++) {
    const rows = Array.from({ length: n }, () => random.integer(400));
    const data = rows.flatMap((i) => [...population.x.data.subarray(4 * i, 4 * i + 4)]);
    const calibration = [{ x: tensor("float32", [n, 4], data), y: rows.map((i) => population.y[i]!) }];
    const fitted = await calibrateExits(network, candidates, { calibration, reject: { quantile }, device });
    const { predictions } = exitRecord(fitted, await recordScores(network, fitted, [population], { device }));
    rejected += population.y.filter((_, i) => predictions.some((row) => row[i] === REJECTED)).length;
  }
  const rate = rejected / (rounds * 400);
  const slack = 3 * Math.sqrt((quantile * (1 - quantile) * (1 / (n / 2 + 2))) / rounds);
  expect(rate).toBeLessThan(1 - quantile + slack);
  expect(rate).toBeGreaterThan(1 - quantile - 2 / (n / 2 + 1) - slack);
}, 120_000);
