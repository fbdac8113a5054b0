import { type Device, generator, gradients, openDevice, ops, schedules, spec, tensor, trace } from "@exitkit/core-gpu";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type TrainSkippingOptions, trainSkipping } from "../src/index.ts";
import { drawEpoch } from "../src/while-training/draw-epoch.ts";
import { RING_MACS, ring, ringBackbone } from "./ring.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

describe("drawEpoch", () => {
  it("in expectation, over all outcomes weighted by their probabilities, the gradient is the full one", async () => {
    // A linear model on four samples, of which 0, 2 and 3 are easy: eight outcomes, each with its probability.
    const easy = Uint8Array.of(1, 0, 1, 1);
    const s = 0.3;
    const x = tensor("float64", [4, 2], [1, 2, -1, 0.5, 3, -2, 0.2, 0.7]);
    const y = tensor("int64", [4], [0, 1, 1, 0]);
    const program = trace(
      (given) => {
        const losses = ops.crossEntropy(ops.matmul(given.x, given.w), given.y, { reduction: "none" });
        return { gradient: gradients(ops.sum(ops.mul(losses, given.weight)), given.w) };
      },
      {
        w: spec("float64", [2, 2]),
        x: spec("float64", [4, 2]),
        y: spec("int64", [4]),
        weight: spec("float64", [4]),
      },
    );
    const runner = await device.compile(program);
    const w = tensor("float64", [2, 2], [0.3, -0.1, 0.2, 0.4]);
    const gradientOf = async (weights: readonly number[]): Promise<readonly number[]> => {
      const { gradient } = await runner.run({ w, x, y, weight: tensor("float64", [4], weights) });
      return [...(gradient!.data as Float64Array)];
    };
    const expected = [0, 0, 0, 0];
    for (let outcome = 0; outcome < 8; outcome++) {
      const skipped = [0, 2, 3].filter((_, bit) => ((outcome >> bit) & 1) === 1);
      // A generator that answers as this outcome needs, so that the function under test makes the weights.
      const answers = [0, 2, 3].map((row) => (skipped.includes(row) ? 0 : 0.999));
      const { rows, weights } = drawEpoch(easy, s, { ...generator(1), uniform: () => answers.shift()! });
      const all = [0, 0, 0, 0];
      rows.forEach((row, at) => {
        all[row] = weights[at]!;
      });
      const probability = s ** skipped.length * (1 - s) ** (3 - skipped.length);
      (await gradientOf(all)).forEach((value, i) => {
        expected[i]! += probability * value;
      });
    }
    const full = await gradientOf([1, 1, 1, 1]);
    for (const [i, value] of full.entries()) expect(expected[i]).toBeCloseTo(value, 6);
    await runner.release();
  });

  it("skips only what is easy, and as often as asked", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(0, 1), { minLength: 1, maxLength: 50 }), fc.nat(), (marks, seed) => {
        const { rows, weights } = drawEpoch(Uint8Array.from(marks), 0.5, generator(seed));
        const stayed = new Set(rows);
        for (const [i, mark] of marks.entries()) if (mark === 0) expect(stayed.has(i)).toBe(true);
        rows.forEach((row, at) => {
          expect(weights[at]).toBe(marks[row] === 1 ? 2 : 1);
        });
      }),
    );
    const { rows } = drawEpoch(new Uint8Array(20_000).fill(1), 0.3, generator(1));
    expect(Math.abs(rows.length - 14_000)).toBeLessThan(5 * Math.sqrt(20_000 * 0.3 * 0.7));
  });

  it.each([-0.1, 1, Number.NaN])("refuses the probability %s", (probability) => {
    expect(() => drawEpoch(new Uint8Array(3), probability, generator(1))).toThrow(/must be in \[0, 1\)/);
  });
});

const options = (given: Partial<TrainSkippingOptions> = {}): TrainSkippingOptions => ({
  tap: "first",
  epochs: 16,
  batchSize: 50,
  generator: generator(1),
  learningRate: schedules.oneCycle({ maximum: 0.1, steps: 16 * 12 }),
  ...given,
});

describe("trainSkipping", () => {
  it("sees everything first and last, and less in between, and learns all the same", async () => {
    const { data } = ring(600);
    const { history, saved, cost } = await trainSkipping(device, ringBackbone(), data, options());
    const seen = history.map(({ samplesSeen }) => samplesSeen);
    expect([seen[0], seen[14], seen[15]]).toEqual([600, 600, 600]);
    expect(Math.min(...seen)).toBeLessThan(500);
    const total = seen.reduce((sum, one) => sum + one, 0);
    expect(saved).toBeCloseTo(1 - total / (16 * 600), 12);
    expect(saved).toBeGreaterThan(0.1);
    expect({ samplesSeen: cost.samplesSeen, macs: cost.macs }).toEqual({
      samplesSeen: total,
      macs: 3 * RING_MACS * total,
    });
    expect(history.at(-1)!.loss).toBeLessThan(history[0]!.loss / 4);
  });

  it("with probability 0 it trains on everything", async () => {
    const { data } = ring(200);
    const { saved, history } = await trainSkipping(
      device,
      ringBackbone(),
      data,
      options({ epochs: 4, probability: 0 }),
    );
    expect([saved, history.map(({ samplesSeen }) => samplesSeen)]).toEqual([0, [200, 200, 200, 200]]);
  });

  it("stops after the batch in which the signal comes", async () => {
    const { data } = ring(200);
    const stop = new AbortController();
    const steps: number[] = [];
    const learningRate = (step: number) => {
      steps.push(step);
      if (steps.length === 7) stop.abort(new Error("enough"));
      return 0.1;
    };
    const running = trainSkipping(device, ringBackbone(), data, options({ learningRate, signal: stop.signal }));
    await expect(running).rejects.toThrow("enough");
    expect(steps.length).toBe(7);
  });

  const refusals: readonly [string, unknown, RegExp][] = [
    ["a probability of 1", options({ probability: 1 }), /option "probability"/],
    ["no epochs", { ...options(), epochs: undefined }, /option "epochs"/],
    ["an unknown option", { ...options(), ratio: 0.5 }, /unknown option "ratio"/],
    ["fewer samples than a batch", options({ batchSize: 300 }), /at least one batch of 300/],
  ];
  it.each(refusals)("refuses %s", async (_, given, message) => {
    await expect(trainSkipping(device, ringBackbone(), ring(200).data, given as TrainSkippingOptions)).rejects.toThrow(
      message,
    );
  });
});
