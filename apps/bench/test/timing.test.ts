import { describe, expect, it } from "vitest";
import { halvingThresholds } from "../src/experiments/staged-overhead/scenarios.ts";
import { quantile, timeInterleaved } from "../src/measuring/timing.ts";

describe("timeInterleaved", () => {
  /** Contenders that take so many milliseconds of a clock of their own. */
  function contenders(milliseconds: Readonly<Record<string, () => number>>) {
    let clock = 0;
    const order: string[] = [];
    const list = Object.entries(milliseconds).map(([name, duration]) => ({
      name,
      run: async () => {
        order.push(name);
        clock += duration();
      },
    }));
    return { list, order, now: () => clock };
  }

  it("runs contenders in turn, each first once, and repeats what is too short for the clock", async () => {
    let runs = 0;
    const { list, order, now } = contenders({ a: () => 10, b: () => 20 + runs++, short: () => 2 });
    const times = await timeInterleaved(list, { budget: 0, leastRounds: 3, mostRounds: 9 }, now);
    const short = "short short short"; // 5 ms at least
    const warm = "a a b b short short";
    expect(order.join(" ")).toBe(`${warm} a b ${short} b ${short} a ${short} a b`);
    // Runs 2, 3 and 4 of b, after two to warm up.
    expect(times.get("b")).toEqual({ times: [22, 23, 24], median: 23, lowerQuartile: 22.5, upperQuartile: 23.5 });
    expect(times.get("short")).toMatchObject({ times: [2, 2, 2], median: 2 });
  });

  it("spends its budget within the bounds", async () => {
    const spend = async (budget: number) => {
      const { list, now } = contenders({ x: () => 6, y: () => 4 });
      const times = await timeInterleaved(list, { budget, leastRounds: 2, mostRounds: 20 }, now);
      return times.get("x")!.times.length;
    };
    // A round is 6 ms and twice 4 ms.
    expect([await spend(1), await spend(14 * 7), await spend(1e6)]).toEqual([2, 7, 20]);
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
