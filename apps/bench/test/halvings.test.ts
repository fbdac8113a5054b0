import { generator } from "@exitkit/core-gpu";
import { type ExitRecord, replay } from "@exitkit/early-exit";
import { describe, expect, it } from "vitest";
import { chooseOn, inHalves, merged, thresholdsFor, typicalHalving } from "../src/measuring/halvings.ts";
import { pairedLoss, widestMargin } from "../src/measuring/paired.ts";
import { spread } from "../src/measuring/spread.ts";

const COSTS = { exits: [10, 40], full: 40 };

/** n samples of one class, all right at the end; `right` says which the early exit answers rightly, and how sure it is. */
function recordOf(n: number, right: (i: number) => boolean, sure: (i: number) => number): ExitRecord {
  return {
    exits: ["early", "full"],
    n,
    confidences: [Float32Array.from({ length: n }, (_, i) => sure(i)), new Float32Array(n).fill(0.9)],
    predictions: [Int32Array.from({ length: n }, (_, i) => (right(i) ? 1 : 0)), new Int32Array(n).fill(1)],
    labels: new Int32Array(n).fill(1),
  };
}

describe("random halvings", { timeout: 60_000 }, () => {
  it("of an exit that is always right never fail, and save", async () => {
    const record = recordOf(
      2000,
      () => true,
      (i) => 0.5 + i / 5000,
    );
    for (const { asked, guarded, aimed } of await inHalves([record], COSTS, 5, generator(1))) {
      expect([guarded.failed, guarded.lost, aimed.failed]).toEqual([0, 0, 0]);
      if (asked >= 0.01) expect(guarded.macsFraction).toBeLessThan(1);
    }
  });

  it("of an exit that knows nothing leave nothing early where it is guarded, and so lose nothing", async () => {
    const record = recordOf(
      2000,
      () => false,
      (i) => ((i * 7919) % 2000) / 2000,
    );
    for (const { guarded } of await inHalves([record], COSTS, 5, generator(2))) {
      expect([guarded.failed, guarded.idle]).toEqual([0, 5]);
    }
  });

  it("a guarded choice fails seldom where one that is aimed at fails about every other time", async () => {
    const random = generator(3);
    const sure = Float64Array.from({ length: 2000 }, () => random.uniform());
    const right = sure.map((one) => (random.uniform() < 0.75 + one / 4 ? 1 : 0));
    const record = recordOf(
      2000,
      (i) => right[i] === 1,
      (i) => sure[i]!,
    );
    const seen = await inHalves([record], COSTS, 30, random);
    for (const { delta, halvings, guarded, aimed } of seen.filter(({ asked }) => asked >= 0.01)) {
      expect(guarded.failed).toBeLessThanOrEqual(delta * halvings + 3 * Math.sqrt(delta * (1 - delta) * halvings));
      expect(aimed.failed).toBeGreaterThan(guarded.failed);
      expect(guarded.macsFraction).toBeGreaterThanOrEqual(aimed.macsFraction);
    }
  });

  it("the typical one costs the median of them all, on samples that chose nothing", async () => {
    const random = generator(4);
    const sure = Float64Array.from({ length: 1000 }, () => random.uniform());
    const right = sure.map((one) => (random.uniform() < 0.8 + one / 5 ? 1 : 0));
    const record = recordOf(
      1000,
      (i) => right[i] === 1,
      (i) => sure[i]!,
    );
    const sums: number[] = [0];
    for (const halvings of [1, 2, 3]) {
      const { guarded } = (await inHalves([record], COSTS, halvings, generator(5))).find(
        ({ asked }) => asked === 0.02,
      )!;
      sums.push(halvings * guarded.macsFraction);
    }
    const costs = [1, 2, 3].map((at) => sums[at]! - sums[at - 1]!).sort((a, b) => a - b);
    const { report, rows, thresholds } = typicalHalving([record], COSTS, 0.02, 3, generator(5));
    expect(replay(report, thresholds, COSTS).costFraction).toBeCloseTo(costs[1]!, 9);
    expect(costs[2]! - costs[0]!).toBeGreaterThan(0.001);
    expect(new Set(rows).size).toBe(500);
    expect(report.confidences[0]![7]).toBe(record.confidences[0]![rows[7]!]);
  });

  it("choose, exit by exit, the candidate that is right more often", () => {
    const [poor, good] = [
      recordOf(
        500,
        (i) => i % 2 === 0,
        () => 0.8,
      ),
      recordOf(
        500,
        (i) => i % 9 > 0,
        () => 0.8,
      ),
    ];
    const all = Int32Array.from({ length: 500 }, (_, i) => i);
    const chosen = chooseOn([poor, good], COSTS, all, generator(1));
    expect(chosen.candidates).toEqual([1]);
    expect(merged([poor, good], chosen.candidates).predictions[0]).toBe(good.predictions[0]);
    const aimed = replay(good, thresholdsFor(chosen, "aimed", 0.01), COSTS);
    expect(1 - aimed.accuracy).toBeLessThanOrEqual(0.01);
  });
});

it("a paired loss is the mean of the differences, its margin 1.96 of their standard errors", () => {
  const differences = [...new Array(12).fill(1), ...new Array(5).fill(-1), ...new Array(1199).fill(0)];
  const { mean, deviation } = spread(differences);
  const { loss, margin } = pairedLoss(12, 5, 1216);
  expect(loss).toBeCloseTo(mean, 12);
  // The deviation of a sample is larger by √(n / (n − 1)).
  expect(margin).toBeCloseTo((1.96 * deviation! * Math.sqrt(1215 / 1216)) / Math.sqrt(1216), 12);
});

it("the widest interval of a loss is that of the pictures that differ most, and no other is wider", () => {
  const [n, full, right] = [1000, 900, 870];
  for (let both = full + right - n; both <= right; both++) {
    const { loss, margin } = pairedLoss(full - both, right - both, n);
    const widest = widestMargin(full / n, right / n, n);
    expect(loss).toBeCloseTo(0.03, 12);
    expect(margin).toBeLessThanOrEqual(widest + 1e-12);
    if (both === full + right - n) expect(margin).toBeCloseTo(widest, 12);
  }
});
