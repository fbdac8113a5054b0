import { readFileSync } from "node:fs";
import { generator, InputError } from "@exitkit/core-gpu";
import { describe, expect, it } from "vitest";
import { calibrate, type ExitRecord, NEVER, replay, selectRows } from "../src/index.ts";
import { meanIsBelow } from "../src/risk/betting.ts";
import { binomialTail } from "../src/risk/binomial.ts";
import { recorded, recordedBy } from "./recorded.ts";

/** What fixtures/generate-risk.py computed with SciPy and NumPy. */
const golden = JSON.parse(readFileSync(new URL("../fixtures/risk.json", import.meta.url), "utf8")) as {
  readonly tails: readonly (readonly [k: number, n: number, p: number, tail: number])[];
  readonly betting: readonly {
    readonly losses: readonly number[];
    readonly mean: number;
    readonly delta: number;
    readonly below: boolean;
  }[];
};
const { costs } = recorded;
const population = recordedBy("maxProbability");
const never = [NEVER, NEVER, NEVER];

describe("the recorded network", () => {
  it("answers as its generator says", () => {
    const right = population.predictions.map(
      (row) => row.filter((answer, i) => answer === population.labels[i]).length,
    );
    expect(right).toEqual(recorded.right);
  });
});

describe("tests of a risk", () => {
  it("binomial tails are SciPy's", () => {
    for (const [k, n, p, expected] of golden.tails) {
      expect(Math.abs(binomialTail(k, n, p) - expected), `${k} of ${n} at ${p}`).toBeLessThan(
        1e-9 * Math.max(expected, 1e-12),
      );
    }
    expect(binomialTail(-1, 5, 0.5)).toBe(0);
    expect(binomialTail(5, 5, 0.5)).toBe(1);
  });

  it("bets are won where NumPy wins them", () => {
    for (const { losses, mean, delta, below } of golden.betting) {
      expect(meanIsBelow(Int8Array.from(losses), mean, delta)).toBe(below);
    }
    expect(new Set(golden.betting.map(({ below }) => below)).size).toBe(2);
  });

  it("law: a bet against a true hypothesis is won with probability δ at most, over all sequences of losses", () => {
    const n = 8;
    const sequences = Array.from({ length: 3 ** n }, (_, code) =>
      Int8Array.from({ length: n }, (_, t) => (Math.floor(code / 3 ** t) % 3) - 1),
    );
    for (const mean of [0.05, 0.3, 0.6]) {
      for (const delta of [0.5, 0.2, 0.1]) {
        const won = sequences.filter((losses) => meanIsBelow(losses, mean, delta));
        expect(won.length).toBeGreaterThan(0);
        for (const minus of [0, 0.05, (1 - mean) / 2]) {
          const chance = [minus, 1 - mean - 2 * minus, mean + minus]; // of −1, 0 and 1: their mean is `mean`
          const of = (losses: Int8Array) => losses.reduce((product, loss) => product * chance[loss + 1]!, 1);
          expect(won.reduce((sum, losses) => sum + of(losses), 0)).toBeLessThanOrEqual(delta);
        }
      }
    }
  }, 60_000);
});

/** P(X ≤ k) by plain addition. */
function plainTail(k: number, n: number, p: number): number {
  let mass = (1 - p) ** n;
  let sum = mass;
  for (let i = 1; i <= k; i++) {
    mass *= ((n - i + 1) / i) * (p / (1 - p));
    sum += mass;
  }
  return sum;
}

describe("calibrate", () => {
  // Not from the record: the same threshold everywhere, from cautious to bold.
  const path = Array.from({ length: 60 }, (_, step) => new Array(3).fill(0.995 - step / 100) as number[]);
  const disagreements = (record: ExitRecord, thresholds: readonly number[]) =>
    replay(record, thresholds, costs).predictions.filter((answer, i) => answer !== record.predictions.at(-1)![i])
      .length;

  it("goes along a path up to the first point that the exact test does not pass", async () => {
    const goal = { risk: "disagreement", maxRisk: 0.05, delta: 0.05, path, random: generator(1) } as const;
    const found = await calibrate(population, costs, goal);
    const passed = path.map((thresholds) => plainTail(disagreements(population, thresholds), 2500, 0.05) <= 0.05);
    const first = passed.indexOf(false);
    expect(found).toMatchObject({ certified: true, bound: 0.05, tested: first + 1, passed: first, samples: 2500 });
    expect(first).toBeGreaterThan(5);
    expect(found.thresholds).toEqual(path[first - 1]!.map(Math.fround));
    expect(found.risk).toBe(disagreements(population, found.thresholds) / 2500);
    const { accuracy, meanCost, costFraction } = replay(population, found.thresholds, costs);
    expect(found).toMatchObject({ accuracy, meanCost, costFraction });
  });

  it("looks at nothing behind a point that failed, and returns the cheapest that passed", async () => {
    const bold = [0.2, 0.2, 0.2];
    const goal = { risk: "harm", maxRisk: 0.05, random: generator(1) } as const;
    const within = [path[0]!, path[2]!, path[1]!];
    const stopped = await calibrate(population, costs, { ...goal, path: [...within, bold, path[3]!] });
    expect(stopped).toMatchObject({ tested: 4, passed: 3, thresholds: path[2]!.map(Math.fround) });
    const whole = await calibrate(population, costs, { ...goal, path: [...within, path[3]!] });
    expect(whole).toMatchObject({ tested: 4, passed: 4, thresholds: path[3]!.map(Math.fround) });
  });

  it("counts each risk as it says", async () => {
    const full = population.predictions.at(-1)!;
    const thresholds = path[20]!;
    const { predictions } = replay(population, thresholds, costs);
    const counted = { error: 0, loss: 0, harm: 0, disagreement: 0 };
    population.labels.forEach((label, i) => {
      const [ours, theirs] = [predictions[i] === label, full[i] === label];
      counted.error += ours ? 0 : 1;
      counted.loss += ours === theirs ? 0 : ours ? -1 : 1;
      counted.harm += theirs && !ours ? 1 : 0;
      counted.disagreement += predictions[i] === full[i] ? 0 : 1;
    });
    for (const risk of ["error", "loss", "harm", "disagreement"] as const) {
      const goal = { risk, maxRisk: 0.5, path: [thresholds], random: generator(1) };
      expect((await calibrate(population, costs, goal)).risk).toBe(counted[risk] / 2500);
    }
    expect(new Set(Object.values(counted)).size).toBe(4);
  });

  it("lets nothing leave early where nothing is certified, and says so", async () => {
    const few = selectRows(population, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for (const risk of ["loss", "harm", "disagreement"] as const) {
      const found = await calibrate(few, costs, { risk, maxRisk: 0.01, random: generator(1) });
      expect(found).toMatchObject({ certified: true, bound: 0, risk: 0, passed: 0, thresholds: never, samples: 7 });
    }
    const goal = { risk: "error", maxRisk: 0.08, path: [never, ...path], random: generator(1) } as const;
    const found = await calibrate(population, costs, goal);
    const wrong = 1 - recorded.right.at(-1)! / 2500;
    expect(wrong).toBeGreaterThan(0.08);
    expect(found).toMatchObject({ certified: false, bound: 1, tested: 1, passed: 0, thresholds: never });
    expect(found.risk).toBeCloseTo(wrong, 12);
    // The full network's own error is certified where it is small enough.
    const asked = await calibrate(population, costs, { ...goal, maxRisk: 0.095, path: [never] });
    expect(asked).toMatchObject({ certified: true, bound: 0.095, passed: 1, thresholds: never });
  });

  it("does not look at labels where the full network is the measure", async () => {
    const goal = { risk: "disagreement", maxRisk: 0.05 } as const;
    const unlabelled = { ...population, labels: new Int32Array(population.n) };
    const found = await calibrate(unlabelled, costs, { ...goal, random: generator(3) });
    const { accuracy: _, ...same } = await calibrate(population, costs, { ...goal, random: generator(3) });
    expect(found).toMatchObject(same);
    expect(found.passed).toBeGreaterThan(10);
  });

  it("finds the path on samples that do not test it", async () => {
    // The last 70 % of the order test; what they say does not move the path, only where it ends.
    const order = generator(4).permutation(population.n);
    const predictions = population.predictions.map((row) => row.slice());
    for (const i of order.subarray(750)) predictions[0]![i] = predictions.at(-1)![i]!;
    const easier = { ...population, predictions };
    const goal = { risk: "disagreement", maxRisk: 0.04 } as const;
    const [a, b] = [
      await calibrate(population, costs, { ...goal, random: generator(4) }),
      await calibrate(easier, costs, { ...goal, random: generator(4) }),
    ];
    expect(b.passed).toBeGreaterThan(a.passed);
    // A bolder end of the same path: one probability of agreement for all exits, so all thresholds are lower.
    b.thresholds.forEach((threshold, j) => {
      expect(threshold).toBeLessThan(a.thresholds[j]!);
    });
  });

  it("lets all leave at an exit that never disagrees", async () => {
    const predictions = [
      population.predictions[0]!,
      population.predictions.at(-1)!,
      ...population.predictions.slice(2),
    ];
    const record = { ...population, predictions };
    const found = await calibrate(record, costs, { risk: "disagreement", maxRisk: 0.01, random: generator(1) });
    const { shares } = replay(record, found.thresholds, costs);
    expect(shares[1]).toBeGreaterThan(0.5);
    expect([shares[2], shares[3]]).toEqual([0, 0]);
  });

  /** A record whose last exit is the most confident one; the early one is never right about a share of samples, and always sure. */
  const fallback = (share: number) => {
    const n = 1000;
    const network = new Int32Array(n).fill(1);
    const early = network.map((answer, i) => (i < share * n ? 0 : answer));
    const confidences = [0.99, 0.99].map((value) => new Float32Array(n).fill(value));
    const record: ExitRecord = {
      exits: ["early", "full"],
      n,
      confidences,
      predictions: [early, early],
      labels: network,
    };
    return { record, network };
  };
  const risks = ["loss", "harm", "disagreement"] as const;

  it.each(risks)("counts %s against a reference where the last exit is not the network", async (risk) => {
    const { record, network } = fallback(0.2);
    const cost = { exits: [10, 40], full: 40 };
    const goal = { risk, maxRisk: 0.05 } as const;
    // The last exit has none of the risks against itself, and says nothing about the network.
    const own = await calibrate(record, cost, { ...goal, random: generator(1) });
    expect(own).toMatchObject({ certified: true, risk: 0 });
    for (const path of [undefined, [[NEVER], [0.5]], [[0.5]]]) {
      const options = { ...goal, reference: network, ...(path && { path }) };
      const found = await calibrate(record, cost, { ...options, random: generator(1) });
      expect(found).toMatchObject({ certified: false, bound: 1, tested: 1, passed: 0, thresholds: [NEVER] });
      expect(found.risk).toBeCloseTo(0.2, 1);
    }
    // Where the fallback seldom errs it is tested and passes, as any other point does.
    const good = fallback(0.01);
    const found = await calibrate(good.record, cost, { ...goal, reference: good.network, random: generator(1) });
    expect(found).toMatchObject({ certified: true, bound: 0.05, passed: found.tested });
    expect(found.passed).toBeGreaterThan(1);
    expect(found.risk).toBeGreaterThan(0);
    const alone = { ...goal, reference: good.network, path: [[NEVER]] };
    const never = await calibrate(good.record, cost, { ...alone, random: generator(1) });
    expect(never).toMatchObject({ certified: true, bound: 0.05, passed: 1, thresholds: [NEVER] });
    // So it is where too few samples say that it does not err at all.
    const few = selectRows(good.record, [990, 991, 992, 993, 994, 995]);
    const unsure = await calibrate(few, cost, { ...goal, reference: good.network.slice(0, 6), random: generator(1) });
    expect(unsure).toMatchObject({ certified: false, bound: 1, risk: 0, thresholds: [NEVER] });
  });

  it("with the last exit's own answers as the reference passes the same points", async () => {
    const goal = { risk: "disagreement", maxRisk: 0.04 } as const;
    const reference = population.predictions.at(-1)!;
    const plain = await calibrate(population, costs, { ...goal, random: generator(3) });
    const found = await calibrate(population, costs, { ...goal, reference, random: generator(3) });
    expect(found).toEqual({ ...plain, tested: plain.tested + 1, passed: plain.passed + 1 });
  });

  it("is the same for the same seed", async () => {
    const goal = { risk: "loss", maxRisk: 0.02 } as const;
    const run = (seed: number) => calibrate(population, costs, { ...goal, random: generator(seed) });
    expect(await run(1)).toEqual(await run(1));
    expect((await run(1)).thresholds).not.toEqual((await run(2)).thresholds);
  });

  it("names what is wrong", async () => {
    const goal = { risk: "error", maxRisk: 0.1, random: generator(1) } as const;
    const refused = async (options: object, text: string, record = population) => {
      const run = calibrate(record, costs, { ...goal, ...options } as never);
      await expect(run).rejects.toThrow(InputError);
      await expect(run).rejects.toThrow(text);
    };
    await refused({ risk: "regret" }, "risk");
    await refused({ maxRisk: 0 }, "maxRisk");
    await refused({ maxRisk: 1 }, "maxRisk");
    await refused({ delta: 0 }, "delta");
    await refused({ random: Math.random }, "must be a generator");
    await refused({ alpha: 0.1 }, "alpha");
    await refused({ path: [] }, "path");
    await refused({ reference: [...population.labels] }, "reference");
    await refused({ reference: new Int32Array(3) }, "reference must be an Int32Array of 2500; got a Int32Array of 3");
    await refused({ reference: new Int32Array(2500).fill(-2) }, "reference must be class indices");
    await refused({ path: [[0.5]] }, "4 exits need 3 thresholds, none for the last; got 1");
    await refused({}, "samples both to find a path and to test it; got 1", selectRows(population, [0]));
    await expect(calibrate(population, { ...costs, exits: [1, 2] }, goal)).rejects.toThrow(InputError);
  });
});
