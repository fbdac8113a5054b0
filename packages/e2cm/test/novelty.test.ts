import { readFileSync } from "node:fs";
import { type Device, generator, openDevice, programToModel, spec, tensor, trace } from "@exitkit/core-gpu";
import { NEVER, openStaged, REJECTED, recordExits, replay } from "@exitkit/early-exit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { noveltyOf, noveltyOnHost } from "../src/decisions/novelty.ts";
import { attachExits } from "../src/exits/exits.ts";
import {
  accumulateStatistics,
  exitNovelty,
  exitRecord,
  type FittedExits,
  fit,
  recordScores,
  solveExits,
} from "../src/index.ts";
import { inspectNetwork, type Network } from "../src/network/network.ts";
import { batches, tinyModel } from "./fixture.ts";

type Metric = "euclidean" | "sharedCovariance";
const METRICS: readonly Metric[] = ["euclidean", "sharedCovariance"];

const golden = JSON.parse(readFileSync(new URL("../fixtures/novelty.json", import.meta.url), "utf8")) as {
  readonly shrinkage: number;
} & Readonly<Record<Metric, readonly (readonly number[])[]>>;

const model = tinyModel();
const test = batches("test", 60);
/** Noise: no class at all. */
const noise = (() => {
  const random = generator(4);
  const x = tensor("float32", [60, 3, 8, 8]);
  x.data.forEach((_, i, pixels) => {
    pixels[i] = 5 * random.normal();
  });
  return [{ x, y: new Int32Array(60).fill(REJECTED) }];
})();
const all = [...test, ...noise].map(({ x, y }) => ({ x, y: Int32Array.from(y) }));

let device: Device;
let network: Network;
const taps: string[] = [];

beforeAll(async () => {
  device = await openDevice("cpu");
  network = await inspectNetwork("test", device, model, 4);
  // What blocks one and two give, as the generator of the golden values takes it.
  const after = (name: string) =>
    model.proto.graph!.node.filter(({ name: own, opType }) => own.includes(`/${name}/`) && opType === "Relu").at(-1)!
      .output[0]!;
  taps.push(after("one"), after("two"));
});
afterAll(() => device.close());

const relative = (actual: ArrayLike<number>, expected: readonly number[]) =>
  Math.max(...expected.map((value, i) => Math.abs(value - actual[i]!))) / Math.max(...expected);

describe("novelty against scikit-learn and NumPy in float64", () => {
  it.each(METRICS)("%s, at two exits and at the network's outputs", async (metric) => {
    const features = metric === "euclidean" ? "full" : "pooled";
    const statistics = await accumulateStatistics(model, batches("train", 64), {
      classes: 4,
      metric,
      features,
      taps: [...taps, "logits"],
      device,
    });
    const exits = await solveExits(model, statistics, { metric, shrinkage: golden.shrinkage, device });
    const novelty = exitNovelty(exits, await recordScores(model, exits, test, { device }));
    expect(novelty).toHaveLength(3);
    golden[metric].forEach((expected, exit) => {
      expect(relative(novelty[exit]!, expected)).toBeLessThan(1e-3);
    });
    // And in the graph, from the same scores.
    const scores = await recordScores(model, exits, test, { device });
    for (const [index, exit] of exits.exits.entries()) {
      const program = trace(({ s }) => ({ novelty: noveltyOf(s, exit) }), { s: spec("float32", ["n", 4]) });
      const session = await device.load(programToModel(program));
      const { novelty: inGraph } = await session.run({ s: tensor("float32", [60, 4], scores.scores[index]!) });
      expect(relative(inGraph!.data as Float32Array, golden[metric][index]!)).toBeLessThan(1e-3);
      await session.release();
    }
  });

  it("sees the mean itself as not novel at all, and classes whose means coincide or lie on a line", async () => {
    const shared = {
      metric: "sharedCovariance" as const,
      weights: new Float32Array(0),
      bias: new Float32Array(3),
      shrinkage: 0,
    };
    const { discriminantSpace } = await import("../src/exits/discriminant-space.ts");
    // Means −1, 0, 2 on a line in two dimensions, covariance the identity: W = (means − centre)ᵀ.
    const line = [-1, 0, 2].flatMap((at) => [3 * at, 4 * at]);
    const centre = [1, 4 / 3];
    const means = Float64Array.from(line);
    const weights = Float64Array.from([0, 1].flatMap((i) => [0, 1, 2].map((c) => line[2 * c + i]! - centre[i]!)));
    const bias = Float64Array.of(0.3, -0.2, 0.1);
    const space = discriminantSpace(weights, bias, means, Float64Array.from(centre));
    const scoresAt = (x: number, y: number) => [0, 1, 2].map((c) => bias[c]! + x * weights[c]! + y * weights[3 + c]!);
    // (3, 4) lies on the line, 5 from the means at 0 and at 2; (4, −3) is 5 beside the mean at 0, which the line does not see.
    const scores = Float32Array.from([scoresAt(0, 0), scoresAt(3, 4), scoresAt(4, -3), scoresAt(-6, -8)].flat());
    const novelty = noveltyOnHost(scores, { ...shared, space });
    [0, 5, 0, 5].forEach((expected, row) => {
      expect(novelty[row]).toBeCloseTo(expected, 4);
    });
  });
});

describe.each(METRICS)("%s exits that reject", (metric) => {
  let rejecting: Record<"leaving" | "everyExit" | "probability", FittedExits>;
  let plain: FittedExits;
  beforeAll(async () => {
    const options = { classes: 4, metric, calibration: test, device } as const;
    const train = batches("train", 60);
    plain = await fit(model, train, options);
    rejecting = {
      leaving: await fit(model, train, { ...options, reject: { quantile: 0.9 } }),
      everyExit: await fit(model, train, { ...options, reject: { quantile: 0.9, at: "everyExit" } }),
      probability: await fit(model, train, {
        ...options,
        reject: { quantile: 0.9, at: "everyExit", by: "probability" },
      }),
    };
  });

  it.each(["leaving", "everyExit", "probability"] as const)(
    "at %s: staged, fused, recorded in the graph and on the host agree",
    async (at) => {
      const fitted = rejecting[at];
      const exitModel = attachExits(network, fitted.exits, fitted);
      const inGraph = await recordExits(device, exitModel, all);
      const onHost = exitRecord(fitted, await recordScores(model, fitted, all, { device }));
      expect(onHost.predictions).toEqual(inGraph.predictions);
      expect(inGraph.predictions.some((row) => row.includes(REJECTED))).toBe(true);
      if (at !== "probability") expect(inGraph.predictions.at(-1)!.includes(REJECTED)).toBe(true);
      expect(fitted.output === null).toBe(at === "probability");
      const points = [fitted.exits.map(() => NEVER), ...fitted.operatingPoints.map(({ thresholds }) => thresholds)];
      for (const execution of ["fused", "sessions"] as const) {
        const staged = await openStaged(device, exitModel, { execution });
        for (const thresholds of points.filter((_, index) => index % 7 === 0)) {
          const replayed = replay(inGraph, thresholds, fitted.costs);
          const parts = await Promise.all(all.map(({ x }) => staged.classify(x, thresholds)));
          expect(parts.flatMap(({ predictions }) => [...predictions])).toEqual([...replayed.predictions]);
          expect(parts.flatMap(({ leftAt }) => [...leftAt])).toEqual([...replayed.leftAt]);
        }
        await staged.release();
      }
    },
  );

  it("changes nothing but the answers of what it rejects, and at everyExit their confidence", async () => {
    const scores = await recordScores(model, plain, all, { device });
    const before = exitRecord(plain, scores);
    for (const at of ["leaving", "everyExit"] as const) {
      const fitted = rejecting[at];
      expect(fitted.exits).toEqual(plain.exits);
      const inGraph = await recordExits(device, attachExits(network, fitted.exits, fitted), all);
      const off = await recordExits(device, attachExits(network, plain.exits, plain), all);
      const again = await recordScores(model, fitted, all, { device });
      expect(again.scores).toEqual(scores.scores);
      const novelty = exitNovelty(fitted, again);
      inGraph.predictions.forEach((row, exit) => {
        row.forEach((answer, i) => {
          const novel = novelty[exit]![i]! > Math.fround(fitted.rejection!.thresholds[exit]!);
          expect(answer).toBe(novel ? REJECTED : before.predictions[exit]![i]!);
          const confidence = novel && at === "everyExit" ? 1 : off.confidences[exit]![i]!;
          expect(inGraph.confidences[exit]![i]).toBe(confidence);
        });
      });
    }
  });

  it("rejects noise more than test samples, and saves by doing so early", async () => {
    const fitted = rejecting.everyExit;
    const record = exitRecord(fitted, await recordScores(model, fitted, noise, { device }));
    const never = replay(
      record,
      fitted.exits.map(() => NEVER),
      fitted.costs,
    );
    const early = replay(
      record,
      fitted.exits.map(() => 0.999999),
      fitted.costs,
    );
    expect(early.meanCost).toBeLessThan(never.meanCost);
    // A label of −1 makes rejecting the right answer.
    expect(early.accuracy).toBeGreaterThan(0.5);
  });
});

describe("novelty is refused", () => {
  it("without class means of the outputs, or labels of no known class where exits are fitted", async () => {
    const exits = await fit(model, batches("train", 60), { classes: 4, calibration: test, device });
    const scores = await recordScores(model, exits, test, { device });
    expect(() => exitNovelty(exits, scores)).toThrow(
      /^e2cm\.exitNovelty: novelty at the last exit needs class means .*; got exits without them\. Fit with the option reject/,
    );
    await expect(fit(model, noise, { classes: 4, calibration: test, device })).rejects.toThrow(
      /labels must be .* from 0/,
    );
    await expect(
      fit(model, batches("train", 60), { classes: 4, calibration: noise, device, reject: {} }),
    ).rejects.toThrow(/labels must be .* from 0 to 3; got -1/);
  });
});
