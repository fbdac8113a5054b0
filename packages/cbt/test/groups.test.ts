import { generator, tensor } from "@exitkit/core-gpu";
import { describe, expect, it } from "vitest";
import {
  accumulateClassProbabilities,
  classThresholds,
  type ExitLogits,
  mergeClassProbabilities,
  openSegmenter,
  recordPixels,
  replayPixels,
  solveClassThresholds,
} from "../src/index.ts";
import { frameOf, smallNetwork } from "./networks.ts";

/** Frames of 6 × 6 whose second class is hard by day, and whose first is hard by night. */
function frames(seed: number, n: number, group?: "day" | "night"): ExitLogits[] {
  const random = generator(seed);
  return Array.from({ length: n }, () => {
    const labels = tensor(
      "uint8",
      [1, 6, 6],
      Array.from({ length: 36 }, () => random.integer(2)),
    );
    const logits = [1, 2].map((sure) =>
      tensor(
        "float32",
        [1, 2, 6, 6],
        Array.from({ length: 72 }, (_, at) => {
          const label = labels.data[at % 36]!;
          const hard = group === "night" ? label === 0 : label === 1;
          return (Math.floor(at / 36) === label ? (hard ? sure : 4 * sure) : 0) + random.normal();
        }),
      ),
    );
    return { logits, labels, ...(group === undefined ? {} : { group }) };
  });
}

describe("groups of frames", () => {
  it("a group's sums are those of its frames alone; all frames' sums do not change", async () => {
    const [day, night] = [frames(1, 4, "day"), frames(2, 3, "night")];
    const grouped = await accumulateClassProbabilities([...day, ...night], { classes: 2 });
    const without = ({ logits, labels }: ExitLogits) => ({ logits, labels });
    const plain = await accumulateClassProbabilities([...day, ...night].map(without), { classes: 2 });
    expect(plain.groups).toBeUndefined();
    expect({ counts: grouped.counts, sums: grouped.sums }).toEqual({ counts: plain.counts, sums: plain.sums });
    const alone = await accumulateClassProbabilities(night.map(without), { classes: 2 });
    expect(grouped.groups!.night).toEqual({ counts: alone.counts, sums: alone.sums });
    const merged = mergeClassProbabilities(
      await accumulateClassProbabilities(day, { classes: 2 }),
      await accumulateClassProbabilities(night, { classes: 2 }),
    );
    expect(merged.groups).toEqual(grouped.groups);
    expect(JSON.parse(JSON.stringify(merged))).toEqual(merged);
  });

  it("each group has its own easiest class", async () => {
    const seen = await accumulateClassProbabilities([...frames(1, 4, "day"), ...frames(2, 4, "night")], { classes: 2 });
    const of = (group: string) => classThresholds(seen, { alpha: 0.6, beta: 0.75, group }).thresholds;
    expect(of("day")).toEqual([Math.fround(0.6), 0.75]);
    expect(of("night")).toEqual([0.75, Math.fround(0.6)]);
    expect(() => of("dusk")).toThrow(/group must be one of day, night; got dusk/);
  });

  it("one segmenter takes thresholds frame by frame", async () => {
    const network = smallNetwork();
    const segmenter = await openSegmenter(network, { thresholds: 2, execution: "pixels" });
    const frame = frameOf(3);
    const stops = async (thresholds?: number | number[]) =>
      new Set((await segmenter.segment(frame, thresholds === undefined ? {} : { thresholds })).stopped.data);
    expect(await stops(-1)).toEqual(new Set([0]));
    expect(await stops()).toEqual(new Set([2]));
    await expect(stops([0.5])).rejects.toThrow(/5 numbers/);
    await segmenter.release();
  });
});

describe("pixels that are alike are one entry", () => {
  it("memory does not grow with the frames, and replays at levels are exact", async () => {
    const own = frames(5, 6, "day");
    const options = { classes: 2, every: 1 };
    const all = await recordPixels(own, { ...options, levels: 0 });
    const few = await recordPixels(own, { ...options, levels: 8, deals: 1 });
    const more = await recordPixels([...own, ...own, ...own], { ...options, levels: 8, deals: 1 });
    expect(all.n).toBe(216);
    expect(few.n).toBeLessThan(100);
    expect(more.n).toBe(few.n);
    expect([...more.counts!]).toEqual(Array.from(few.counts!, (count) => 3 * count));
    // A threshold that is a level's edge parts the same pixels: here every level there is.
    for (const level of new Set(few.confidences[0])) {
      expect(replayPixels(few, [[level, level]])).toEqual(replayPixels(all, [[level, level]]));
    }
  });

  it("solved thresholds give on every pixel what they give on the entries", async () => {
    const own = frames(7, 8, "day");
    const few = await recordPixels(own, { classes: 2, every: 1 });
    const all = await recordPixels(own, { classes: 2, every: 1, levels: 0 });
    const solved = solveClassThresholds(few, { costs: [1, 3], maxLoss: 0.02 });
    const { shares } = replayPixels(all, solved.thresholds);
    expect(shares[0]! + 3 * shares[1]!).toBeCloseTo(solved.meanCost, 9);
    expect(solved.meanCost).toBeLessThan(3);
  });
});

it("dilation: what lies beside a pixel that goes on goes on too", async () => {
  const network = smallNetwork();
  const [bare, wide] = await Promise.all(
    [0, 1].map((dilation) => openSegmenter(network, { thresholds: 0.4, dilation, execution: "pixels" })),
  );
  const frame = frameOf(7);
  const [few, more] = [(await bare!.segment(frame)).stopped, (await wide!.segment(frame)).stopped];
  const [h, w] = bare!.grid;
  for (let at = 0; at < h * w; at++) {
    const near = [-1, 0, 1].some((y) =>
      [-1, 0, 1].some((x) => {
        const [row, column] = [Math.floor(at / w) + y, (at % w) + x];
        return row >= 0 && row < h && column >= 0 && column < w && few.data[row * w + column]! > 0;
      }),
    );
    expect(more.data[at]! > 0).toBe(near);
  }
  await bare!.release();
  await wide!.release();
});
