import { describe, expect, it } from "vitest";
import { halvingThresholds } from "../src/experiments/scenarios.ts";
import { quantile, timeInterleaved } from "../src/experiments/timing.ts";

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

describe("timeInterleaved", () => {
  it("times contenders against each other, each first in turn, and repeats short ones", async () => {
    const order: string[] = [];
    const contender = (name: string, milliseconds: number) => ({
      name,
      run: async () => {
        order.push(name);
        await sleep(milliseconds);
      },
    });
    const times = await timeInterleaved([contender("a", 10), contender("b", 20), contender("short", 1)], {
      budget: 0,
      leastRounds: 3,
      mostRounds: 9,
    });
    expect(order.slice(0, 6)).toEqual(["a", "a", "b", "b", "short", "short"]);
    const rounds = order.slice(6).filter((name, index, all) => name !== all[index - 1]);
    expect(rounds.join()).toBe("a,b,short,b,short,a,short,a,b");
    expect(order.filter((name) => name === "short").length).toBeGreaterThan(5);
    const { median, lowerQuartile, upperQuartile, rounds: count } = times.get("b")!;
    expect(count).toBe(3);
    expect(median).toBeGreaterThan(18);
    expect(lowerQuartile <= median && median <= upperQuartile).toBe(true);
    expect(times.get("a")!.median).toBeLessThan(median);
  });

  it("spends its budget within the bounds", async () => {
    const spend = async (budget: number) =>
      (await timeInterleaved([{ name: "x", run: () => sleep(6) }], { budget, leastRounds: 2, mostRounds: 20 })).get(
        "x",
      )!.rounds;
    expect(await spend(1)).toBe(2);
    expect(await spend(1e6)).toBe(20);
  });
});

describe("quantile", () => {
  it("is NumPy's linear one", () => {
    // numpy.quantile([7, 1, 3, 10], [0, .25, .5, .75, 1])
    expect([0, 0.25, 0.5, 0.75, 1].map((q) => quantile([7, 1, 3, 10], q))).toEqual([1, 2.5, 5, 7.75, 10]);
  });
});

describe("halvingThresholds", () => {
  it("lets half of those that arrive leave at each exit", () => {
    const confidences = [
      Float32Array.of(0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6, 0.4),
      Float32Array.of(0, 0.4, 0, 0.3, 0, 0.2, 0, 0.1),
      new Float32Array(8),
    ];
    const [first, second] = halvingThresholds(confidences);
    expect(first).toBeCloseTo(0.5, 6); // rows 0, 2, 4, 6 leave
    expect(second).toBeCloseTo(0.25, 6); // of 1, 3, 5, 7: rows 1 and 3 leave
  });

  it("lets nobody leave where only one arrives, and the larger half go on", () => {
    expect(halvingThresholds([Float32Array.of(0.5), Float32Array.of(0.5)])).toEqual([2]);
    const [threshold] = halvingThresholds([Float32Array.of(0.25, 0.5, 0.75), new Float32Array(3)]);
    expect(threshold).toBe(0.625);
  });
});
