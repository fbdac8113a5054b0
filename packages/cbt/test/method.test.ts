import { readFileSync } from "node:fs";
import { generator, tensor } from "@exitkit/core-gpu";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { argMaxClasses } from "../src/frames/resize-logits.ts";
import {
  accumulateClassProbabilities,
  type ClassProbabilities,
  classThresholds,
  countConfusion,
  donePixels,
  type ExitLogits,
  mergeClassProbabilities,
  resizeLogits,
  segmentationQuality,
} from "../src/index.ts";

interface Golden {
  readonly batches: readonly { readonly logits: readonly number[][]; readonly labels: readonly number[] }[];
  readonly halfPixel: Expected;
  readonly alignCorners: Expected;
}

interface Expected {
  readonly counts: readonly number[];
  readonly sums: readonly number[][];
  readonly confusion: readonly number[];
  readonly iou: readonly (number | null)[];
  readonly miou: number;
  readonly withLast: Thresholds;
  readonly withoutLast: Thresholds;
}

interface Thresholds {
  readonly P: readonly number[][];
  readonly T: readonly number[];
  readonly thresholds: readonly number[];
}

const golden: Golden = JSON.parse(readFileSync(new URL("../fixtures/method.json", import.meta.url), "utf8"));
const K = 5;
const grids = [
  [3, 4],
  [5, 5],
  [7, 10],
] as const;
const batches: readonly ExitLogits[] = golden.batches.map(({ logits, labels }, index) => {
  const n = index === 0 ? 2 : 1;
  return {
    logits: logits.map((own, e) => tensor("float32", [n, K, ...grids[e]!], own)),
    labels: tensor("uint8", [n, 7, 10], labels),
  };
});
const close = (actual: ArrayLike<number>, expected: readonly number[], digits = 5) => {
  expect(actual.length).toBe(expected.length);
  expected.forEach((value, at) => {
    expect(actual[at]).toBeCloseTo(value, digits);
  });
};

describe("against PyTorch and NumPy", () => {
  it.each(["halfPixel", "alignCorners"] as const)(
    "class probabilities, thresholds and mIoU, %s",
    async (coordinates) => {
      const expected = golden[coordinates];
      const seen = await accumulateClassProbabilities(batches, { classes: K, coordinates });
      expect(seen.counts).toEqual(expected.counts);
      expected.sums.forEach((sums, exit) => {
        close(seen.sums[exit]!, sums);
      });
      for (const lastExit of [true, false]) {
        const wanted = lastExit ? expected.withLast : expected.withoutLast;
        const { thresholds, ease, means } = classThresholds(seen, { alpha: 0.9, beta: 0.998, lastExit });
        close(thresholds.slice(0, 4), wanted.thresholds);
        close(ease.slice(0, 4) as number[], wanted.T, 7);
        wanted.P.forEach((mean, c) => {
          close(means[c]!, mean, 7);
        });
        expect([thresholds[4], ease[4], means[4]]).toEqual([Math.fround(0.998), null, null]);
      }
      let confusion = { classes: K, counts: new Array<number>(K * K).fill(0) } as ReturnType<typeof countConfusion>;
      for (const { logits, labels } of batches) {
        const shape = labels.shape as number[];
        const big = resizeLogits(logits[0]!, [7, 10], { coordinates });
        const answers = tensor("uint8", shape, argMaxClasses(big));
        confusion = countConfusion(labels, answers, { classes: K, before: confusion });
      }
      expect(confusion.counts).toEqual(expected.confusion);
      const { iou, miou } = segmentationQuality(confusion);
      close(iou as number[], expected.iou as number[], 12);
      expect(miou).toBeCloseTo(expected.miou, 12);
    },
  );

  it("[0, 1] to four: half pixels and aligned corners differ", () => {
    const two = tensor("float32", [1, 1, 1, 2], [0, 1]);
    expect([...resizeLogits(two, [1, 4]).data]).toEqual([0, 0.25, 0.75, 1]);
    close(resizeLogits(two, [1, 4], { coordinates: "alignCorners" }).data, [0, 1 / 3, 2 / 3, 1], 7);
  });

  it("sizes that eight does not divide keep their last row and column", () => {
    const logits = tensor("float32", [1, 1, 61, 46]);
    logits.data[61 * 46 - 1] = 1;
    const big = resizeLogits(logits, [481, 361]);
    expect(big.shape).toEqual([1, 1, 481, 361]);
    expect(big.data.at(-1)).toBe(1);
    expect(resizeLogits(big, [481, 361])).toBe(big);
  });

  it("logits are resized before softmax, not probabilities", async () => {
    const logits = tensor("float32", [1, 2, 1, 2], [4, -4, -4, 4]);
    const labels = tensor("uint8", [1, 1, 4], [255, 0, 255, 255]);
    const { sums } = await accumulateClassProbabilities([{ logits: [logits], labels }], { classes: 2 });
    // A quarter of the way: logits 2 and −2.
    expect(sums[0]![0]).toBeCloseTo(1 / (1 + Math.exp(-4)), 12);
  });
});

describe("laws", () => {
  const k = 4;
  const random = generator(3);
  const frame = (): ExitLogits => ({
    logits: [1, 2].map((scale) =>
      tensor(
        "float32",
        [1, k, 2, 3],
        Array.from({ length: k * 6 }, () => scale * random.normal()),
      ),
    ),
    labels: tensor(
      "uint8",
      [1, 4, 5],
      Array.from({ length: 20 }, () => (random.integer(6) === 0 ? 255 : random.integer(k))),
    ),
  });
  const frames = Array.from({ length: 7 }, frame);
  const probabilities = fc
    .array(
      fc.tuple(
        fc.integer({ min: 0, max: 3 }),
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 2 * k, maxLength: 2 * k }),
      ),
      {
        minLength: k,
        maxLength: k,
      },
    )
    .filter((rows) => rows.some(([count]) => count > 0))
    .map((rows): ClassProbabilities => {
      const sums = [0, 1].map((exit) =>
        rows.flatMap(([count, values]) => values.slice(exit * k, (exit + 1) * k).map((v) => v * count)),
      );
      return { classes: k, masked: false, coordinates: "halfPixel", counts: rows.map(([count]) => count), sums };
    });
  const range = fc
    .tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true }))
    .map(([a, b]) => ({
      alpha: Math.min(a, b),
      beta: Math.max(a, b),
    }));

  it("any split of the frames, merged in any order, is the whole; JSON keeps it", async () => {
    const whole = await accumulateClassProbabilities(frames, { classes: k });
    expect(JSON.parse(JSON.stringify(whole))).toEqual(whole);
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray([...frames.keys()], { minLength: 7 }),
        fc.integer({ min: 1, max: 6 }),
        async (order, cut) => {
          const part = (ids: number[]) =>
            accumulateClassProbabilities(
              ids.map((id) => frames[id]!),
              { classes: k },
            );
          const merged = mergeClassProbabilities(await part(order.slice(0, cut)), await part(order.slice(cut)));
          expect(merged.counts).toEqual(whole.counts);
          merged.sums.flat().forEach((sum, at) => {
            expect(sum).toBeCloseTo(whole.sums.flat()[at]!, 11);
          });
        },
      ),
      { numRuns: 20 },
    );
  });

  it("the easiest class gets exactly alpha, the hardest exactly beta, the others lie between, easier ones lower", () => {
    fc.assert(
      fc.property(probabilities, range, (seen, { alpha, beta }) => {
        const { thresholds, ease } = classThresholds(seen, { alpha, beta });
        const present = ease.filter((value) => value !== null);
        const [least, most] = [Math.min(...present), Math.max(...present)];
        ease.forEach((value, c) => {
          if (value === null || value === least) expect(thresholds[c]).toBe(Math.fround(beta));
          else if (value === most) expect(thresholds[c]).toBe(Math.fround(alpha));
          expect(thresholds[c]).toBeGreaterThanOrEqual(Math.fround(alpha));
          expect(thresholds[c]).toBeLessThanOrEqual(Math.fround(beta));
          ease.forEach((other, d) => {
            if (value !== null && other !== null && value > other)
              expect(thresholds[c]).toBeLessThanOrEqual(thresholds[d]!);
          });
        });
      }),
    );
  });

  const maps = fc
    .array(fc.double({ min: 0.01, max: 1, noNaN: true }), { minLength: k * 6, maxLength: k * 6 })
    .map((raw) => {
      const map = tensor("float32", [1, k, 2, 3]);
      for (let i = 0; i < 6; i++) {
        // Steeper than the draw, so that some pixels are sure.
        const powers = Array.from({ length: k }, (_, c) => raw[c * 6 + i]! ** 12);
        const total = powers.reduce((sum, value) => sum + value, 0);
        powers.forEach((value, c) => {
          map.data[c * 6 + i] = value / total;
        });
      }
      return map;
    });

  it("alpha = beta is the single threshold, bit for bit", () => {
    fc.assert(
      fc.property(probabilities, maps, fc.double({ min: 0, max: 1, noNaN: true }), (seen, map, threshold) => {
        const { thresholds } = classThresholds(seen, { alpha: threshold, beta: threshold });
        expect(new Set(thresholds)).toEqual(new Set([Math.fround(threshold)]));
        const single = donePixels(map, threshold).data;
        expect(donePixels(map, thresholds).data).toEqual(single);
        // ADP-C: max over the classes > T.
        for (let i = 0; i < 6; i++) {
          const largest = Math.max(...Array.from({ length: k }, (_, c) => map.data[c * 6 + i]!));
          expect(single[i]).toBe(largest > Math.fround(threshold) ? 1 : 0);
        }
      }),
    );
  });

  it("from ½ on, OR over the classes is the threshold of the predicted class; below it need not be", () => {
    const predicted = (map: ReturnType<typeof tensor<"float32">>, thresholds: readonly number[]) =>
      Uint8Array.from({ length: 6 }, (_, i) => {
        const own = Array.from({ length: k }, (_, c) => map.data[c * 6 + i]!);
        const best = own.indexOf(Math.max(...own));
        return own[best]! > Math.fround(thresholds[best]!) ? 1 : 0;
      });
    const high = fc.array(fc.double({ min: 0.5, max: 1, noNaN: true }), { minLength: k, maxLength: k });
    fc.assert(
      fc.property(maps, high, (map, thresholds) => {
        expect(donePixels(map, thresholds).data).toEqual(predicted(map, thresholds));
      }),
    );
    const map = tensor("float32", [1, 2, 1, 1], [0.6, 0.4]);
    expect(donePixels(map, [0.7, 0.3]).data[0]).toBe(1);
  });

  it("raising any threshold never makes a pixel done", () => {
    const thresholds = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: k, maxLength: k });
    fc.assert(
      fc.property(maps, thresholds, fc.nat(k - 1), fc.double({ min: 0, max: 1, noNaN: true }), (map, low, at, more) => {
        const before = donePixels(map, low).data;
        const after = donePixels(map, low.with(at, low[at]! + more)).data;
        after.forEach((done, i) => {
          expect(done).toBeLessThanOrEqual(before[i]!);
        });
      }),
    );
  });

  it("all classes equally easy: all get beta", () => {
    const seen = {
      classes: 2,
      masked: false,
      coordinates: "halfPixel",
      counts: [1, 2],
      sums: [[0.7, 0.3, 0.6, 1.4]],
    } as const;
    expect(classThresholds(seen, { alpha: 0.9, beta: 0.95 }).thresholds).toEqual([0.95, 0.95].map(Math.fround));
  });
});

it("a tensor of ONNX Runtime holds probabilities too", () => {
  const own = tensor("float32", [1, 2, 1, 2], [0.95, 0.1, 0.05, 0.9]);
  const theirs = { dims: own.shape, type: "float32", data: own.data };
  expect(donePixels(theirs, [0.9, 0.97])).toEqual(donePixels(own, [0.9, 0.97]));
});

describe("mean IoU", () => {
  const labels = tensor("uint8", [1, 1, 6], [0, 0, 1, 1, 2, 255]);

  it("leaves absent classes out, counts answered ones as 0, and ignored pixels nowhere", () => {
    const answers = tensor("uint8", [1, 1, 6], [0, 1, 1, 1, 0, 3]);
    const { iou, miou } = segmentationQuality(countConfusion(labels, answers, { classes: 4 }));
    expect(iou).toEqual([1 / 3, 2 / 3, 0, null]);
    expect(miou).toBeCloseTo(1 / 3, 15);
  });

  it("a class that is only answered counts as 0", () => {
    const answers = tensor("uint8", [1, 1, 6], [0, 0, 1, 1, 3, 0]);
    expect(segmentationQuality(countConfusion(labels, answers, { classes: 4 })).iou).toEqual([1, 1, 0, 0]);
  });

  it("pools counts over frames", () => {
    // Intersections and unions 1/4 and 9/10, then 9/10 and 1/4.
    const frame = (a: number, b: number, others: number) => {
      const truth = [...new Array(a).fill(0), ...new Array(b).fill(1), ...new Array(others).fill(2)];
      return tensor("uint8", [1, 1, truth.length], truth);
    };
    const answered = (from: ReturnType<typeof frame>, wrong: readonly number[]) => {
      const data = from.data.slice();
      for (const at of wrong) data[at] = 2;
      return tensor("uint8", from.shape as number[], data);
    };
    const first = frame(4, 10, 3);
    const second = frame(10, 4, 3);
    const confusion = countConfusion(first, answered(first, [0, 1, 2, 4]), { classes: 3 });
    const both = countConfusion(second, answered(second, [0, 10, 11, 12]), { classes: 3, before: confusion });
    expect(segmentationQuality(confusion).iou.slice(0, 2)).toEqual([1 / 4, 9 / 10]);
    expect(segmentationQuality(both).iou.slice(0, 2)).toEqual([10 / 14, 10 / 14]);
  });

  it("is NaN without a pixel", () => {
    const none = tensor("uint8", [1, 1, 1], [255]);
    expect(segmentationQuality(countConfusion(none, tensor("uint8", [1, 1, 1]), { classes: 2 })).miou).toBeNaN();
  });
});
