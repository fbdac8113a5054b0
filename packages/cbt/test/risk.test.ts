import { readFileSync } from "node:fs";
import { generator, tensor } from "@exitkit/core-gpu";
import { describe, expect, it } from "vitest";
import { calibrateFrames, type FrameMeasures, measureFrames, openSegmenter } from "../src/index.ts";
import { frameOf, smallNetwork } from "./networks.ts";

/** Every second test frame of CamVid, measured by `measureFrames` with a network that was trained on it for ten epochs, rounded to four places. */
const recorded: FrameMeasures = JSON.parse(
  readFileSync(new URL("../fixtures/frame-measures.json", import.meta.url), "utf8"),
);
const n = recorded.cost[0]!.length;

function drawn(random: ReturnType<typeof generator>, size: number): FrameMeasures {
  const places = Array.from({ length: size }, () => random.integer(n));
  const of = (lists: FrameMeasures["cost"]) => lists.map((own) => places.map((place) => own[place]!));
  return {
    path: recorded.path,
    changed: of(recorded.changed),
    miouLoss: of(recorded.miouLoss),
    cost: of(recorded.cost),
  };
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

describe("calibrateFrames", () => {
  it.each([
    ["changed", 0.05, 0.1],
    ["changed", 0.03, 0.2],
  ] as const)("law: %s ≤ %d: of 1,000 calibrations at most a share of δ = %d exceed it", (risk, maxRisk, delta) => {
    const random = generator(5);
    const truth = recorded[risk].map(mean);
    // There are points on both sides.
    expect(Math.min(...truth)).toBeLessThan(maxRisk);
    expect(Math.max(...truth)).toBeGreaterThan(maxRisk);
    let [exceeded, found] = [0, 0];
    for (let run = 0; run < 1000; run++) {
      const { point } = calibrateFrames(drawn(random, 150), { risk, maxRisk, delta, random });
      if (point === null) continue;
      found++;
      if (truth[point]! > maxRisk) exceeded++;
    }
    expect(exceeded / 1000).toBeLessThanOrEqual(delta);
    expect(found).toBeGreaterThan(500);
  });

  it("gives the cheapest point before the first that fails, and nothing where the first fails", () => {
    const all = (value: number) => new Array<number>(200).fill(value);
    const measures = {
      path: [0.99, 0.9, 0.8, 0.7],
      changed: [all(0), all(0.01), all(0.5), all(0)],
      miouLoss: [all(-0.1), all(0.3), all(0.3), all(0.3)],
      cost: [all(0.9), all(0.7), all(0.5), all(0.1)],
    };
    const options = { maxRisk: 0.05, random: generator(1) };
    expect(calibrateFrames(measures, { ...options, risk: "changed" })).toEqual({
      point: 1,
      thresholds: 0.9,
      bound: 0.05,
      risk: expect.closeTo(0.01, 9),
      cost: expect.closeTo(0.7, 9),
      tested: 3,
      frames: 200,
    });
    expect(calibrateFrames(measures, { ...options, risk: "miouLoss" })).toMatchObject({ point: 0, tested: 2 });
    const bad = { ...measures, changed: [all(0.5), ...measures.changed.slice(1)] };
    expect(calibrateFrames(bad, { ...options, risk: "changed" })).toMatchObject({
      point: null,
      thresholds: 2,
      bound: 0,
    });
  });

  it.each<[string, unknown, unknown, RegExp]>([
    ["no measures", undefined, {}, /what measureFrames gives; got undefined/],
    [
      "other frames at one point",
      { ...recorded, changed: [[0.1], ...recorded.changed.slice(1)] },
      {},
      /what measureFrames/,
    ],
    ["an unknown risk", recorded, { risk: "error" }, /risk/],
    ["a risk of 0", recorded, { maxRisk: 0 }, /maxRisk/],
    ["an unknown option", recorded, { seed: 1 }, /seed/],
  ])("refuses %s", (_, measures, options, message) => {
    const given = { risk: "changed", maxRisk: 0.1, random: generator(1), ...(options as object) } as never;
    expect(() => calibrateFrames(measures as FrameMeasures, given)).toThrow(message);
  });
});

describe("measureFrames", () => {
  it("counts what running the thresholds changes", async () => {
    const network = smallNetwork();
    const x = frameOf(4, 2);
    const segmenter = await openSegmenter(network, { thresholds: 2, execution: "pixels" });
    const full = (await segmenter.segment(x)).classes;
    const early = await segmenter.segment(x, { thresholds: 0.4 });
    const { fullMacs } = segmenter;
    await segmenter.release();
    // Labels are the full network's answers, a column of each ignored.
    const labels = tensor(
      "uint8",
      full.shape,
      Array.from(full.data, (id, at) => (at % 22 === 0 ? 255 : id)),
    );
    const found = await measureFrames(network, [{ x, labels }], { path: [2, 0.4] });
    expect(found.changed[0]).toEqual([0, 0]);
    expect(found.miouLoss[0]).toEqual([0, 0]);
    const size = 18 * 22;
    for (const frame of [0, 1]) {
      let others = 0;
      for (let at = frame * size; at < (frame + 1) * size; at++) {
        if (at % 22 !== 0 && early.classes.data[at] !== full.data[at]) others++;
      }
      expect(found.changed[1]![frame]).toBeCloseTo(others / (18 * 21), 12);
      expect(found.cost[1]![frame]).toBeCloseTo(early.macs[frame]! / fullMacs, 12);
    }
    expect(found.miouLoss[1]!.every((loss) => loss >= 0)).toBe(true);
    const unlabelled = {
      x,
      labels: tensor("uint8", full.shape, new Uint8Array(full.data.length).fill(255)),
      source: "a.png",
    };
    await expect(measureFrames(network, [unlabelled], { path: [0.4] })).rejects.toThrow(/a\.png.*labelled pixel/);
    await expect(measureFrames(network, [], { path: [0.4] })).rejects.toThrow(/at least one frame/);
  });
});
