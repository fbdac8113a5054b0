import { type Device, openDevice, rows } from "@exitkit/core-gpu";
import { exportSingle, NEVER, REJECTED, recordExits } from "@exitkit/early-exit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exitRecord, type FittedExits, fit, openClassifier, recordScores, toExitModel } from "../src/index.ts";
import { batches, tinyModel } from "./fixture.ts";
import { counting } from "./networks.ts";

const model = tinyModel();
const test = batches("test", 60);
const pictures = test[0]!.x;
let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

/** Means of a single sample a class: exits that are not sure of everything. */
const fitted = (options: object): Promise<FittedExits> =>
  fit(model, batches("train", 8).slice(0, 3), { classes: 4, calibration: test, device, ...options });

describe.each([
  ["shared covariance", {}],
  ["Euclidean", { metric: "euclidean", rule: "raw", predictFrom: "normalised", last: "nearestMean" }],
  ["Euclidean, rejecting when leaving", { metric: "euclidean", reject: { quantile: 0.7 } }],
  ["shared covariance, rejecting at every exit", { reject: { quantile: 0.7, at: "everyExit" } }],
] as const)("%s", (_, options) => {
  it("one file decides as the classifier does", async () => {
    const exits = await fitted(options);
    const { operatingPoints } = exits;
    const middle = operatingPoints[Math.floor(operatingPoints.length / 2)]!.thresholds;
    const left = new Set<number>();
    let turnedAway = 0;
    for (const thresholds of [
      middle,
      exits.exits.map((__, j) => (j === 0 ? NEVER : 0.4)),
      exits.exits.map(() => NEVER),
    ]) {
      const classifier = await openClassifier(model, exits, { thresholds, device });
      const single = await device.load(exportSingle(await toExitModel(model, exits, { device }), thresholds));
      for (let row = 0; row < 60; row += 2) {
        const x = rows(pictures, row, row + 1);
        const live = await classifier.classify(x);
        const { prediction, exit, confidence } = await single.run({ x });
        expect([exit!.data[0], prediction!.data[0]].map(Number)).toEqual([live.leftAt[0], live.predictions[0]]);
        expect(confidence!.data[0]).toBeCloseTo(live.confidences[0]!, 5);
        left.add(live.leftAt[0]!);
        if (live.predictions[0] === REJECTED) turnedAway++;
      }
      await single.release();
      await classifier.release();
    }
    expect(left.size).toBeGreaterThan(1);
    expect(turnedAway > 0).toBe("reject" in options);
  });

  it("records what recorded scores amount to", async () => {
    const exits = await fitted(options);
    const labelled = test.map(({ x, y }) => ({ x, y: Int32Array.from(y) }));
    const inGraph = await recordExits(device, await toExitModel(model, exits, { device }), labelled);
    const onHost = exitRecord(exits, await recordScores(model, exits, test, { device }));
    expect(inGraph.exits).toEqual(onHost.exits);
    expect(inGraph.predictions).toEqual(onHost.predictions);
  });
});

describe("toExitModel", () => {
  it("leaves nothing open, and refuses another model and unknown options", async () => {
    const exits = await fitted({});
    const watched = counting(device);
    await toExitModel(model, exits, { device: watched });
    expect(watched.open()).toBe(0);
    await expect(toExitModel(model, { ...exits, modelHash: "0".repeat(64) }, { device })).rejects.toThrow(
      /^e2cm\.toExitModel: the exits were fitted on the model with sha256 0000/,
    );
    await expect(toExitModel(model, exits, { thresholds: [] } as never)).rejects.toThrow(/unknown option "thresholds"/);
  });
});

describe("exitRecord refuses", () => {
  it("what would give numbers without meaning", async () => {
    const exits = await fitted({ metric: "euclidean" });
    const scores = await recordScores(model, exits, test, { device });
    const says = (decision: object, pattern: RegExp, own = scores) =>
      expect(() => exitRecord(exits, own, decision)).toThrow(pattern);
    says({ last: "nearestMean" }, /^e2cm\.exitRecord: .*unknown option "last"/);
    says({ output: null }, /unknown option "output"/);
    says({ rule: "cosine" }, /option "rule"/);
    const rejection = { quantile: 0.9, at: "leaving", by: "distance", thresholds: [1] } as const;
    says({ rejection }, new RegExp(`rejection thresholds of ${exits.exits.length + 1} exits; got 1`));
    const thresholds = scores.scores.map(() => 1);
    says({ rejection: { ...rejection, thresholds } }, /novelty at the last exit needs class means/);
    says({}, /scores of \d+ exits and 4 classes; got 1 exits and 4 classes/, {
      ...scores,
      scores: [scores.scores[0]!],
    });
    expect(exitRecord(exits, scores, { rejection: { ...rejection, by: "probability", thresholds } }).n).toBe(60);
  });
});
