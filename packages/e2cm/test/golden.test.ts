import { addTaps, type Device, openDevice, programToModel, proposeCuts, spec, trace } from "@exitkit/core-gpu";
import { confidences, recordExits } from "@exitkit/early-exit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DISTANCE_RULES, scoresOnHost } from "../src/decisions/distances.ts";
import { meanDistances } from "../src/decisions/mean-distances.ts";
import { argMaxRows, recordFromScores } from "../src/decisions/score-record.ts";
import { runScores } from "../src/decisions/scores.ts";
import { closedFormExits } from "../src/exits/closed-form.ts";
import { attachExits, type ClassMeansExit, type SharedCovarianceExit } from "../src/exits/exits.ts";
import { featureMap, features } from "../src/network/features.ts";
import { inspectNetwork, type Network } from "../src/network/network.ts";
import { accumulate } from "../src/statistics/accumulate.ts";
import { batches, golden, tinyModel } from "./fixture.ts";

let device: Device;
let network: Network;
let taps: readonly string[];

beforeAll(async () => {
  device = await openDevice("cpu");
  network = await inspectNetwork("test", device, tinyModel(), 4);
  // Blocks one and two: [4, 8, 8] and [8, 4, 4].
  taps = proposeCuts(network.model).filter((tap) =>
    [256, 128].includes(network.shapes.get(tap)!.reduce((a, b) => a * b)),
  );
  taps = [
    taps.filter((tap) => network.shapes.get(tap)![1] === 4).at(-1)!,
    taps.filter((tap) => network.shapes.get(tap)![1] === 8)[1]!,
  ];
});
afterAll(() => device.close());

/** Largest difference, relative to the largest golden magnitude. */
function relative(actual: ArrayLike<number>, expected: readonly number[]): number {
  expect(actual.length).toBe(expected.length);
  const scale = Math.max(...expected.map(Math.abs));
  return Math.max(...expected.map((value, index) => Math.abs(value - actual[index]!))) / scale;
}

describe("against PyTorch and NumPy in float64", () => {
  async function euclidean(size: number): Promise<readonly ClassMeansExit[]> {
    const settings = { classes: 4, taps, features: "full" as const, gram: false };
    const statistics = await accumulate("test", device, network, batches("train", size), settings);
    const [exits] = await closedFormExits("test", device, network, statistics, "euclidean");
    return exits as readonly ClassMeansExit[];
  }

  it("gives the same logits and class means, whatever the batch size", async () => {
    const scored = await runScores("test", device, attachExits(network, []), batches("test", 60), { classes: 4 });
    expect(relative(scored.scores[0]!.subarray(0, 32), golden.logits.flat())).toBeLessThan(1e-5);
    for (const size of [240, 37]) {
      (await euclidean(size)).forEach((exit, index) => {
        const d = exit.map.d;
        const sampled = golden.exits[index]!.means.flatMap((row, k) => row.map((_, i) => exit.means[k * d + 7 * i]!));
        expect(relative(sampled, golden.exits[index]!.means.flat())).toBeLessThan(1e-6);
        expect(relative(exit.distances, golden.exits[index]!.rootMeanSquareDistances)).toBeLessThan(1e-6);
      });
    }
  });

  it("gives the same mean distances in a second pass", async () => {
    const exits = await euclidean(50);
    const means = await meanDistances("test", device, network, exits, batches("train", 50));
    means.forEach((own, index) => {
      expect(relative(own, golden.exits[index]!.meanDistances)).toBeLessThan(1e-5);
    });
  });

  it.each(DISTANCE_RULES)(
    "gives the same distances, confidences and answers by the rule %s, in the graph and on the host",
    async (rule) => {
      const exits = (await euclidean(80)).map((exit, index) => ({
        ...exit,
        distances: Float32Array.from(golden.exits[index]!.meanDistances),
      }));
      const model = attachExits(network, exits, { rule });
      const scored = await runScores("test", device, model, batches("test", 25), { classes: 4 });
      const inGraph = await recordExits(
        device,
        model,
        batches("test", 25).map(({ x, y }) => ({ x, y: Int32Array.from(y) })),
      );
      const onHost = recordFromScores(exits, scored, {
        rule,
        predictFrom: "raw",
        last: "head",
        output: null,
        rejection: null,
      });
      exits.forEach((exit, index) => {
        const expected = golden.exits[index]!;
        expect(relative(scored.scores[index]!.subarray(0, 32), expected.distances.flat())).toBeLessThan(1e-5);
        const confidence = confidences(scoresOnHost(rule, scored.scores[index]!, exit.distances), "maxProbability");
        expect(relative(confidence.subarray(0, 8), expected.confidences[rule])).toBeLessThan(1e-5);
        expect(relative(inGraph.confidences[index]!, [...onHost.confidences[index]!])).toBeLessThan(1e-5);
        expect([...inGraph.predictions[index]!]).toEqual(expected.nearest);
        expect([...onHost.predictions[index]!]).toEqual(expected.nearest);
      });
    },
  );

  it("answers by normalised distances when asked to", async () => {
    const exits = (await euclidean(80)).map((exit, index) => ({
      ...exit,
      distances: Float32Array.from(golden.exits[index]!.meanDistances),
    }));
    const model = attachExits(network, exits, { predictFrom: "normalised" });
    const record = await recordExits(
      device,
      model,
      batches("test", 60).map(({ x, y }) => ({ x, y: Int32Array.from(y) })),
    );
    golden.exits.forEach((expected, index) => {
      expect([...record.predictions[index]!]).toEqual(expected.nearestNormalised);
    });
    expect(golden.exits.some(({ nearest, nearestNormalised }) => nearest.join() !== nearestNormalised.join())).toBe(
      true,
    );
  });

  it("makes the same second-moment features", async () => {
    const map = featureMap("moments", [4, 8, 8]);
    const part = programToModel(trace(({ x }) => ({ f: features(x, map) }), { x: spec("float32", ["n", 4, 8, 8]) }));
    const scored = await runScores("test", device, attachExits(network, []), batches("test", 60), { classes: 4 });
    expect(scored.n).toBe(60);
    const session = await device.load(part);
    const tapped = await tapOf(taps[0]!);
    const { f } = await session.run({ x: tapped });
    expect(map.d).toBe(golden.exits[0]!.moments.features.length);
    expect(relative((f!.data as Float32Array).subarray(0, map.d), golden.exits[0]!.moments.features)).toBeLessThan(
      1e-5,
    );
  });

  it.each([
    ["moments", "analytic"],
    ["pooled", 0.1],
  ] as const)("solves the shared covariance of %s features with shrinkage %s", async (kind, shrinkage) => {
    const settings = { classes: 4, taps, features: kind, gram: true };
    const statistics = await accumulate("test", device, network, batches("train", 64), settings);
    const [exits] = await closedFormExits("test", device, network, statistics, "sharedCovariance", [shrinkage]);
    const scored = await runScores("test", device, attachExits(network, exits!), batches("test", 60), { classes: 4 });
    golden.exits.forEach((expected, index) => {
      const exit = exits![index] as SharedCovarianceExit;
      expect(exit.shrinkage).toBeCloseTo(expected[kind].shrinkage, 4);
      expect(relative(scored.scores[index]!.subarray(0, 32), expected[kind].scores.flat())).toBeLessThan(1e-3);
      if (kind === "moments") {
        const answers = argMaxRows(scored.scores[index]!, 4);
        const right = answers.reduce((sum, answer, i) => sum + (answer === scored.labels[i] ? 1 : 0), 0);
        expect(right).toBe(expected.moments.right);
      }
    });
  });
});

async function tapOf(tap: string) {
  const session = await device.load(addTaps(network.model, [tap]));
  const result = await session.run({ x: batches("test", 60)[0]!.x }, { outputs: [tap] });
  return result[tap]!;
}
