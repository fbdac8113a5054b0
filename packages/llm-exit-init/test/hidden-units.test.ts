import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Device, generator, openDevice, tensor } from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  accumulateTokens,
  attachHeads,
  heads,
  hiddenUnits,
  judgeExits,
  judgeHeads,
  loadTokens,
  mergeTokens,
  readStates,
  type StatesBatch,
  saveTokens,
  statesAt,
  type TokenStatistics,
  takeRows,
} from "../src/index.ts";
import { finalNorm, output, VOCABULARY, windows } from "./fixture.ts";
import { relative } from "./text.ts";
import { tinyDecoder, tinyText } from "./tiny-decoder.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const D = 6;
const units = hiddenUnits(generator(3), { features: D, units: 4 });
const WIDTH = D + 4;

/** The units, number by number. */
function expanded(batch: StatesBatch): StatesBatch {
  const [n, t] = batch.states.shape as [number, number];
  const states = tensor("float32", [n, t, WIDTH]);
  for (let at = 0; at < n * t; at++) {
    const x = batch.states.data.subarray(at * D, (at + 1) * D);
    states.data.set(x, at * WIDTH);
    for (let unit = 0; unit < 4; unit++) {
      let sum = units.bias.data[unit]!;
      for (let i = 0; i < D; i++) sum += x[i]! * units.weight.data[unit * D + i]!;
      states.data[at * WIDTH + D + unit] = Math.max(0, sum);
    }
  }
  return { ...batch, states };
}

const options = { vocabulary: VOCABULARY, cross: true } as const;
const sums = ({ sums: own, gram, cross, counts, squares }: TokenStatistics) => [
  ...[...own, ...gram!, ...cross!.products, ...cross!.sums, ...counts, squares],
];

describe("hidden units", () => {
  it("are drawn from the generator, of the order of the states", () => {
    const { weight, bias } = hiddenUnits(generator(5), { features: 50, units: 400 });
    const square = weight.data.reduce((sum, value) => sum + value * value, 0) / weight.data.length;
    expect(square).toBeCloseTo(1 / 50, 2);
    expect(Math.max(...bias.data)).toBeLessThan(1);
    expect(Math.min(...bias.data)).toBeGreaterThan(-1);
    expect(hiddenUnits(generator(5), { features: 50, units: 400 })).toEqual({ weight, bias });
    expect(() => hiddenUnits(generator(1), { features: 3, units: 0 })).toThrow(/hiddenUnits/);
  });

  it("give the sums, heads and answers of states that have them already", async () => {
    const own = await accumulateTokens(device, windows("training"), { ...options, hidden: units });
    const plain = await accumulateTokens(device, windows("training").map(expanded), options);
    expect([own.features, plain.features]).toEqual([WIDTH, WIDTH]);
    expect(relative(sums(own), sums(plain))).toBeLessThan(1e-6);
    const [map, wide] = [await heads.linearMap(device, own, output), await heads.linearMap(device, plain, output)];
    expect(map.weight.shape).toEqual([VOCABULARY, WIDTH]);
    expect(relative(map.weight.data, wide.weight.data)).toBeLessThan(1e-4);
    const rows = await takeRows(windows("heldOut"), { vocabulary: VOCABULARY });
    const wideRows = await takeRows(windows("heldOut").map(expanded), { vocabulary: VOCABULARY });
    const best = await heads.mapAndClasses(device, own, output, rows);
    const wideBest = await heads.mapAndClasses(device, plain, output, wideRows);
    const judged = await judgeHeads(device, [map, best, heads.classAware(own)], windows("heldOut"), { output });
    const other = [wide, wideBest, heads.classAware(plain)];
    const expected = await judgeHeads(device, other, windows("heldOut").map(expanded), { output });
    judged.heads.forEach(({ accuracy, crossEntropy }, r) => {
      expect(accuracy).toBeCloseTo(expected.heads[r]!.accuracy, 2);
      expect(crossEntropy).toBeCloseTo(expected.heads[r]!.crossEntropy, 3);
    });
    expect(judged.heads[1]!.crossEntropy).toBeLessThan(judged.heads[2]!.crossEntropy);
  });

  it("bend: what no line can tell they can", async () => {
    // The next token says whether the two features of a state have the same sign.
    const random = generator(2);
    const batch = (n: number): StatesBatch => {
      const states = tensor("float32", [n, 2, 2]);
      const last = tensor("float32", [n, 2, 2]);
      const tokens = new Int32Array(2 * n);
      for (let row = 0; row < n; row++) {
        const [a, b] = [random.normal(), random.normal()];
        const next = a * b > 0 ? 1 : 0;
        states.data.set([a, b], 4 * row);
        last.data.set([1 - next, next], 4 * row);
        tokens[2 * row + 1] = next;
      }
      return { states, last, tokens };
    };
    const identity = tensor("float32", [2, 2], [1, 0, 0, 1]);
    const norm = { kind: "rms", weight: tensor("float32", [2], [1, 1]), epsilon: 1e-5 } as const;
    const model = { norm, weight: identity };
    const [fit, test] = [batch(3000), batch(1000)];
    const given = { vocabulary: 2, cross: true, skip: 0 } as const;
    const hidden = hiddenUnits(generator(1), { features: 2, units: 60 });
    const line = await heads.linearMap(device, await accumulateTokens(device, [fit], given), model);
    const bent = await heads.linearMap(device, await accumulateTokens(device, [fit], { ...given, hidden }), model);
    const { heads: scores } = await judgeHeads(device, [line, bent], [test], { output: model, skip: 0 });
    expect(scores[0]!.accuracy).toBeLessThan(0.65);
    expect(scores[1]!.accuracy).toBeGreaterThan(0.93);
  });

  it("go through files, merges and later passes, and are not mixed with others", async () => {
    const normed = { ...options, norm: "final", finalNorm, hidden: units } as const;
    const [first, ...rest] = windows("training", 7);
    const begun = await accumulateTokens(device, [first!], normed);
    const later = await accumulateTokens(device, rest, normed);
    const whole = sums(await accumulateTokens(device, windows("training", 7), normed));
    expect(relative(sums(mergeTokens(begun, later)), whole)).toBeLessThan(1e-9);
    expect(sums(await accumulateTokens(device, rest, { ...normed, resume: begun }))).toEqual(whole);
    const folder = mkdtempSync(join(tmpdir(), "hidden-"));
    try {
      await saveTokens(join(folder, "a.safetensors"), begun);
      expect(await loadTokens(join(folder, "a.safetensors"))).toEqual(begun);
    } finally {
      rmSync(folder, { recursive: true });
    }
    const other = hiddenUnits(generator(9), { features: D, units: 4 });
    const foreign = await accumulateTokens(device, rest, { ...normed, hidden: other });
    expect(() => mergeTokens(begun, foreign)).toThrow(/same hidden units/);
    expect(() => mergeTokens(begun, { ...foreign, hidden: null })).toThrow(/same hidden units/);
    await expect(accumulateTokens(device, rest, { ...normed, hidden: other, resume: begun })).rejects.toThrow(
      /to resume from.*hidden units/,
    );
    const [a, b] = [heads.classAware(begun), heads.classAware(foreign)];
    expect(() => heads.mix(a, b, { alpha: 0.5 })).toThrow(/hidden units/);
    const narrow = hiddenUnits(generator(9), { features: D - 1, units: 4 });
    await expect(accumulateTokens(device, rest, { ...normed, hidden: narrow })).rejects.toThrow(
      /hidden units must have weight \[h, 6\]/,
    );
  });

  it("are a layer of an attached head", async () => {
    const decoder = tinyDecoder();
    const text = tinyText(20, 13);
    const hidden = hiddenUnits(generator(1), { features: 8, units: 5 });
    const states = [];
    for await (const batch of readStates(device, decoder, text, { taps: ["block1"], batchSize: 20 })) {
      states.push(statesAt(batch, "block1"));
    }
    const given = { vocabulary: 13, norm: "final", finalNorm: decoder.output.norm, cross: true, hidden } as const;
    const head = await heads.linearMap(device, await accumulateTokens(device, states, given), decoder.output);
    const { network, params } = attachHeads(decoder, [{ tap: "block1", head }], 12);
    const [attached] = await judgeExits(device, network, params, text);
    const { heads: alone } = await judgeHeads(device, [head], states, { output: decoder.output });
    expect(attached!.accuracy).toBeCloseTo(alone[0]!.accuracy, 10);
    expect(attached!.crossEntropy).toBeCloseTo(alone[0]!.crossEntropy, 4);
    expect(Object.keys(params.exits[0]!).sort()).toEqual(["hidden", "linear", "norm"]);
  });
});
