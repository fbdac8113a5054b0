import { compileProgram, type Device, generator, openDevice, ops, spec, tensor, trace } from "@exitkit/core-gpu";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  accumulateTokens,
  heads,
  judgeHeads,
  noiseOf,
  type TokenRows,
  type TokenStatistics,
  takeRows,
} from "../src/index.ts";
import { finalNorm, golden, output, VOCABULARY, windows } from "./fixture.ts";
import { relative } from "./text.ts";

let device: Device;
let raw: TokenStatistics;
let normed: TokenStatistics;
let heldOut: TokenRows;
beforeAll(async () => {
  device = await openDevice("cpu");
  raw = await accumulateTokens(device, windows("training"), { vocabulary: VOCABULARY });
  const options = { vocabulary: VOCABULARY, norm: "final", finalNorm, cross: true } as const;
  normed = await accumulateTokens(device, windows("training"), options);
  heldOut = await takeRows(windows("heldOut"), { vocabulary: VOCABULARY });
});
afterAll(() => device.close());

function expectHead(head: heads.TokenHead, name: string, bias = `${name}.bias`, tolerance = 1e-5): void {
  expect(head.weight.shape).toEqual([VOCABULARY, 6]);
  expect(relative(head.weight.data, golden[`${name}.weight`]!.data as Float64Array)).toBeLessThan(tolerance);
  expect(relative(head.bias.data, golden[bias]!.data as Float64Array)).toBeLessThan(tolerance);
}

describe("a large part that all states have in common", () => {
  // Multiples of 1/64, which float32 holds at 10,000 too.
  const random = generator(12);
  const [n, t, d, v] = [40, 16, 6, 5];
  const tokens = Int32Array.from({ length: n * t }, () => random.integer(v));
  const values = Array.from({ length: n * t * d }, (_, at) => {
    const next = tokens[Math.floor(at / d) + 1];
    return Math.round(64 * ((next === at % d ? 1 : 0) + 0.5 * random.normal())) / 64;
  });
  const logitsAt = async (
    offset: number,
    make: (statistics: TokenStatistics) => Promise<heads.TokenHead> | heads.TokenHead,
  ) => {
    const states = tensor(
      "float32",
      [n, t, d],
      values.map((value) => value + offset),
    );
    const statistics = await accumulateTokens(device, [{ states, tokens }], { vocabulary: v });
    const { weight, bias } = await make(statistics);
    const program = trace(({ x }) => ({ y: ops.logSoftmax(ops.linear(x, weight, bias)) }), {
      x: spec("float32", ["n", d]),
    });
    const session = await compileProgram(device, program);
    const { y } = await session.run({ x: { ...states, shape: [n * t, d] } });
    await session.release();
    return y!.data as Float32Array;
  };

  it.each([300, 3000, 10_000])("%d: class-aware and shared covariance answer as at 0", async (offset) => {
    for (const make of [heads.classAware, (own: TokenStatistics) => heads.sharedCovariance(device, own)]) {
      const [here, there] = [await logitsAt(0, make), await logitsAt(offset, make)];
      here.forEach((value, at) => {
        expect(there[at]).toBeCloseTo(value, 1);
      });
    }
  });
});

describe("heads against NumPy in float64", () => {
  it("class-aware, with its estimate of the noise and with another", () => {
    expect(raw.counts[8]).toBe(0);
    expect(noiseOf(raw)).toBeCloseTo(golden.n0!.data[0] as number, 5);
    expectHead(heads.classAware(raw), "classAware");
    expectHead(heads.classAware(raw, { n0: 4 }), "classAware", "classAware.bias.n0=4");
  });

  it("class-aware, calibrated", async () => {
    const head = heads.classAware(raw);
    const calibrated = await heads.calibrate(device, head, heldOut);
    const [weight] = golden.calibrated!.data as Float64Array;
    const scale = head.weight.data.map((value) => value * weight!);
    expect(relative(calibrated.weight.data, scale)).toBeLessThan(1e-3);
    const { heads: scores } = await judgeHeads(device, [head, calibrated], windows("heldOut"), { output });
    expect(scores[1]!.crossEntropy).toBeCloseTo(golden.calibrated!.data[1] as number, 5);
    expect(scores[1]!.accuracy).toBe(scores[0]!.accuracy);
  });

  it("shared covariance", async () => {
    expectHead(await heads.sharedCovariance(device, normed), "sharedCovariance");
    const ratio = await heads.sharedCovariance(device, normed, { prior: false });
    expectHead(ratio, "sharedCovariance", "ratio.bias");
    // A token that never came has the likelihood of any state.
    expect([...ratio.weight.data.subarray(8 * 6), ratio.bias.data[8]]).toEqual(Array(7).fill(0));
  });

  it("linear map", async () => {
    expectHead(await heads.linearMap(device, normed, output), "linearMap", "linearMap.bias", 1e-4);
  });

  it("map and classes, with fitted weights", async () => {
    const head = await heads.mapAndClasses(device, normed, output, heldOut);
    const [map, classes, loss] = golden.mapAndClasses!.data as Float64Array;
    expect(Math.min(map!, classes!)).toBeGreaterThan(0.05);
    const { heads: scores } = await judgeHeads(device, [head], windows("heldOut", 7), { output });
    expect(scores[0]!.crossEntropy).toBeCloseTo(loss!, 5);
    expectHead(head, "mapAndClasses", "mapAndClasses.bias", 2e-3);
  });

  it("are judged alike, whatever the batches", async () => {
    const [accuracy, crossEntropy, agreement, fullAccuracy, fullCrossEntropy] = golden.judged!.data as Float64Array;
    for (const size of [20, 3]) {
      const {
        tokens,
        heads: scores,
        full,
      } = await judgeHeads(device, [heads.classAware(raw)], windows("heldOut", size), {
        output,
      });
      expect(tokens).toBe(180);
      expect(scores[0]!.accuracy).toBeCloseTo(accuracy!, 12);
      expect(scores[0]!.agreement).toBeCloseTo(agreement!, 12);
      expect(scores[0]!.crossEntropy).toBeCloseTo(crossEntropy!, 4);
      expect(full.accuracy).toBeCloseTo(fullAccuracy!, 12);
      expect(full.crossEntropy).toBeCloseTo(fullCrossEntropy!, 4);
      expect(full.agreement).toBe(1);
    }
  });
});

describe("class-aware", () => {
  it("is the Bayes rule of a Gaussian mixture whose means, priors and noise are known", () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer({ min: 2, max: 6 }),
        fc.double({ min: 0.2, max: 4, noNaN: true }),
        (seed, v, deviation) => {
          const random = generator(seed);
          const d = 3;
          const counts = Float64Array.from({ length: v }, () => 1 + random.integer(50));
          const n = counts.reduce((a, b) => a + b);
          const means = Float64Array.from({ length: v * d }, () => 2 * random.normal());
          const statistics: TokenStatistics = {
            ...{
              source: "",
              norm: "none",
              hidden: null,
              vocabulary: v,
              features: d,
              counts,
              squares: 0,
              gram: null,
              cross: null,
            },
            sums: means.map((value, at) => value * counts[Math.floor(at / d)]!),
          };
          const n0 = 2 * deviation ** 2;
          const { weight, bias } = heads.classAware(statistics, { n0 });
          const x = Array.from({ length: d }, () => 2 * random.normal());
          const range = Array.from({ length: v }, (_, u) => u);
          const squared = (u: number) => x.reduce((sum, value, i) => sum + (value - means[u * d + i]!) ** 2, 0);
          const joint = range.map((u) => (counts[u]! / n) * Math.exp(-squared(u) / n0));
          const total = joint.reduce((a, b) => a + b);
          const logits = range.map(
            (u) => bias.data[u]! + x.reduce((sum, value, i) => sum + value * weight.data[u * d + i]!, 0),
          );
          const scaled = logits.map((logit) => Math.exp((2 / n0) * (logit - Math.max(...logits))));
          const sum = scaled.reduce((a, b) => a + b);
          if (!(total > 1e-200)) return; // so far out that densities vanish
          range.forEach((u) => {
            // Weights are float32: their rounding is scaled by 2/N₀ too.
            expect(Math.abs(scaled[u]! / sum - joint[u]! / total)).toBeLessThan(1e-6 * Math.max(1, (2 / n0) * 10));
          });
        },
      ),
    );
  });

  it("never answers a token the text did not have, near any mean", () => {
    const head = heads.classAware(raw);
    for (let u = 0; u < 8; u++) {
      const x = [...raw.sums.subarray(u * 6, (u + 1) * 6)].map((sum) => sum / raw.counts[u]!);
      const logits = Array.from({ length: VOCABULARY }, (_, w) =>
        x.reduce((sum, value, i) => sum + value * head.weight.data[w * 6 + i]!, head.bias.data[w]!),
      );
      expect(logits[8]).toBeLessThan(Math.max(...logits.slice(0, 8)));
    }
    const copied = heads.classAware(raw, { unseen: "copy", output });
    expect(copied.weight.data.subarray(48)).toEqual(output.weight.data.subarray(48));
    expect(copied.weight.data.subarray(0, 48)).toEqual(head.weight.data.subarray(0, 48));
    expect(copied.bias).toEqual(head.bias);
  });

  it("aligned with the current token would repeat its input: the alignment matters", async () => {
    // One state a token, whatever comes next: the head learns what follows, not what is there.
    const tokens = [0, 1, 2, 0, 1, 2, 0];
    const states = tensor(
      "float32",
      [1, 7, 3],
      tokens.flatMap((token) => [0, 1, 2].map((i) => (i === token ? 1 : 0))),
    );
    const statistics = await accumulateTokens(device, [{ states, tokens }], { vocabulary: 3, skip: 0 });
    const batch = { states, tokens, last: states };
    const identity = tensor("float32", [3, 3], [1, 0, 0, 0, 1, 0, 0, 0, 1]);
    const norm = { kind: "rms", weight: tensor("float32", [3], [1, 1, 1]), epsilon: 1e-5 } as const;
    const scores = await judgeHeads(device, [heads.classAware(statistics)], [batch], {
      ...{ output: { norm, weight: identity }, skip: 0 },
    });
    expect(scores.heads[0]!.accuracy).toBe(1);
    expect(scores.full.accuracy).toBe(0);
  });
});

describe("copy and its partners", () => {
  it("is the model itself at the last block, with the final norm", async () => {
    // There the state's norm is what the model's own head reads.
    const batches = windows("heldOut").map((batch) => ({ ...batch, states: batch.last! }));
    const plain = { ...output, norm: { ...finalNorm, weight: tensor("float32", [6], Array(6).fill(1)) } };
    const head = heads.copy(plain);
    const { heads: scores, full } = await judgeHeads(device, [head], batches, { output: plain });
    expect(scores[0]).toEqual({ ...full, name: "copy" });
    expect(heads.copy(output).weight).toEqual(output.weight);
    expect(heads.copy(output, { norm: "final" }).norm).toBe("final");
    expect(heads.copy({ norm: finalNorm, weight: output.weight }).bias.data).toEqual(new Float32Array(VOCABULARY));
  });

  it("random uniform stays within ±1/√d and depends on the seed alone", () => {
    const draw = (seed: number) => heads.randomUniform(generator(seed), { vocabulary: 500, features: 16 });
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    const { weight, bias } = draw(1);
    const all = [...weight.data, ...bias.data];
    expect(Math.max(...all.map(Math.abs))).toBeLessThanOrEqual(0.25);
    const variance = all.reduce((sum, value) => sum + value ** 2, 0) / all.length;
    expect(variance).toBeCloseTo(0.25 ** 2 / 3, 3);
  });

  it("a mix scales weights, and biases only where asked", () => {
    const one = heads.classAware(raw);
    const two = heads.copy(output);
    const { weight, bias, name } = heads.mix(one, two, { alpha: 0.6 });
    expect(name).toBe("0.6 class-aware + 0.4 copy");
    expect(
      relative(
        weight.data,
        one.weight.data.map((value, at) => 0.6 * value + 0.4 * two.weight.data[at]!),
      ),
    ).toBeLessThan(1e-6);
    expect(bias).toEqual(one.bias);
    const both = heads.mix(one, two, { alpha: 0.25, combineBias: "both" });
    expect(
      relative(
        both.bias.data,
        one.bias.data.map((value, at) => 0.25 * value + 0.75 * two.bias.data[at]!),
      ),
    ).toBeLessThan(1e-6);
    expect(heads.mix(one, two, { alpha: 1 }).weight).toEqual(one.weight);
    expect(heads.mix(one, two, { alpha: 0 }).weight).toEqual(two.weight);
  });
});

describe("the linear map", () => {
  it("finds a map that is there, and is the model's own head then", async () => {
    const random = generator(4);
    const states = tensor(
      "float32",
      [8, 30, 6],
      Float32Array.from({ length: 8 * 30 * 6 }, () => random.normal()),
    );
    const matrix = Array.from({ length: 36 }, () => random.normal());
    const last = tensor("float32", [8, 30, 6]);
    for (let row = 0; row < 240; row++) {
      for (let j = 0; j < 6; j++) {
        for (let i = 0; i < 6; i++) last.data[row * 6 + j]! += states.data[row * 6 + i]! * matrix[i * 6 + j]!;
        last.data[row * 6 + j]! += j - 2;
      }
    }
    const tokens = Int32Array.from({ length: 240 }, () => random.integer(VOCABULARY));
    const batch = { states, last, tokens };
    const statistics = await accumulateTokens(device, [batch], { vocabulary: VOCABULARY, cross: true });
    const head = await heads.linearMap(device, statistics, output, { ridge: 1e-9 });
    const { heads: scores, full } = await judgeHeads(device, [head], [batch], { output });
    expect(scores[0]!.agreement).toBe(1);
    expect(scores[0]!.crossEntropy).toBeCloseTo(full.crossEntropy, 4);
  });
});

describe("what is refused", () => {
  it("options, statistics and heads that do not fit", async () => {
    expect(() => heads.classAware(raw, { n0: -1 })).toThrow(/heads\.classAware: .*"n0"/);
    expect(() => heads.classAware(raw, { unseen: "copy" })).toThrow(/Pass output/);
    expect(() => heads.classAware(undefined as never)).toThrow(/statistics of at least one position/);
    expect(() => heads.classAware({ ...raw, counts: new Float64Array(9) })).toThrow(/at least one position/);
    expect(() => heads.copy({} as never)).toThrow(
      /heads\.copy: the output layer's weight must be float32 \[v, d\]; got none/,
    );
    expect(() => heads.mix(heads.classAware(raw), heads.copy(output, { norm: "final" }), { alpha: 0.5 })).toThrow(
      /one shape, norm and hidden units/,
    );
    expect(() => heads.mix(heads.classAware(raw), heads.copy(output), {} as never)).toThrow(/"alpha"/);
    expect(() => heads.randomUniform(generator(1), { vocabulary: 3 } as never)).toThrow(/"features"/);
    await expect(heads.sharedCovariance(device, { ...raw, gram: null })).rejects.toThrow(/Gram matrix/);
    await expect(heads.linearMap(device, raw, output)).rejects.toThrow(/no cross sums/);
    const narrow = {
      ...output,
      weight: tensor("float32", [9, 5]),
      norm: { ...finalNorm, weight: tensor("float32", [5]) },
    };
    await expect(heads.linearMap(device, normed, narrow)).rejects.toThrow(
      /output layer must be \[9, 6\].*got \[9, 5\]/,
    );
    const flat = { ...normed, gram: normed.gram!.map(() => 0) };
    await expect(heads.sharedCovariance(device, flat, { shrinkage: 0 })).rejects.toThrow(
      /covariance must be invertible/,
    );
  });

  it("calibration text that is too short, of other states, or tells nothing", async () => {
    await expect(takeRows(windows("heldOut"), { vocabulary: VOCABULARY, limit: 1000 })).rejects.toThrow(
      /must have 1000 tokens with a next one; got 180/,
    );
    const head = heads.classAware(raw);
    const narrow = { states: tensor("float32", [2, 5]), next: Int32Array.of(1, 2) };
    await expect(heads.calibrate(device, head, narrow)).rejects.toThrow(/states must be \[m, 6\]/);
    const other = { states: tensor("float32", [1, 6]), next: Int32Array.of(9) };
    await expect(heads.calibrate(device, head, other)).rejects.toThrow(/tokens must be 0 … 8; got 9/);
    const backwards = {
      ...head,
      weight: tensor(
        "float32",
        [9, 6],
        head.weight.data.map((value) => -value),
      ),
    };
    const worse = {
      ...backwards,
      bias: tensor(
        "float32",
        [9],
        head.bias.data.map((value) => -value),
      ),
    };
    await expect(heads.calibrate(device, worse, heldOut)).rejects.toThrow(/better than chance/);
    await expect(heads.calibrate(device, heads.copy(output, { norm: "final" }), heldOut)).rejects.toThrow(/final norm/);
  });

  it("judging without last states, or heads of another model", async () => {
    const head = heads.classAware(raw);
    const { last, ...rest } = windows("heldOut")[0]!;
    await expect(judgeHeads(device, [head], [rest], { output })).rejects.toThrow(/last must be float32 \[16, 11, 6\]/);
    await expect(judgeHeads(device, [], windows("heldOut"), { output })).rejects.toThrow(/at least one head/);
    const larger = heads.randomUniform(generator(1), { vocabulary: 10, features: 6 });
    await expect(judgeHeads(device, [larger], windows("heldOut"), { output })).rejects.toThrow(
      /vocabulary of 9; got 10/,
    );
    const wider = heads.randomUniform(generator(1), { vocabulary: 9, features: 7 });
    await expect(judgeHeads(device, [wider], windows("heldOut"), { output })).rejects.toThrow(/as the heads/);
    expect(last).toBeDefined();
  });
});
