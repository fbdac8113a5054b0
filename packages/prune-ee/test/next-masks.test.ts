import { generator, tensor } from "@exitkit/core-gpu";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Masks, nextMasks, type Scores } from "../src/index.ts";
import { golden } from "./networks.ts";

const random = () => generator(1);
const scoresOf = (lists: Readonly<Record<string, readonly number[]>>): Scores =>
  new Map(Object.entries(lists).map(([path, list]) => [path, { shape: [list.length], data: Float32Array.from(list) }]));
const kept = (masks: Masks) => Object.values(masks).reduce((sum, { data }) => sum + data.reduce((a, b) => a + b, 0), 0);

describe("masks of a round", () => {
  it.each(["global", "perLayer"] as const)("are those of torch.nn.utils.prune, round after round (%s)", (budget) => {
    const { weights, fraction, ...rounds } = golden.masks;
    const scores: Scores = new Map(
      Object.entries<{ shape: number[]; data: number[] }>(weights).map(([path, { shape, data }]) => [
        path,
        { shape, data: Float32Array.from(data, Math.abs) },
      ]),
    );
    let masks: Masks = {};
    for (const round of rounds[budget]) {
      masks = nextMasks(scores, masks, { fraction, budget, random: random() }).masks;
      for (const [path, bits] of Object.entries(round)) expect(masks[path]!.data.join(""), path).toBe(bits);
    }
  });

  it("leave (1 − fraction)^r: .9²⁰ of many weights, 121 of 1,000 rounded each round", () => {
    const left = (size: number) => {
      const draw = generator(4);
      const scores = scoresOf({ weight: Array.from({ length: size }, () => draw.uniform()) });
      let masks: Masks = {};
      for (let round = 0; round < 20; round++) masks = nextMasks(scores, masks, { fraction: 0.1, random: draw }).masks;
      return kept(masks);
    };
    expect(left(1000)).toBe(121);
    expect(1 - left(200_000) / 200_000).toBeCloseTo(0.87842, 4);
  });

  it("take half of equal weights, wherever they stand, and not the first layer's", () => {
    const equal = Array<number>(400).fill(2);
    const { masks } = nextMasks(scoresOf({ a: equal, b: equal }), {}, { fraction: 0.5, random: random() });
    expect(kept(masks)).toBe(400);
    const first = kept({ a: masks.a! });
    expect(first).toBeGreaterThan(150);
    expect(first).toBeLessThan(250);
  });

  it("keep one weight of a layer that would lose all, and say so", () => {
    const scores = scoresOf({ weak: [0.1, 0.3, 0.2], strong: [5, 6, 7, 8, 9, 10, 11] });
    const { masks, keptOne } = nextMasks(scores, {}, { fraction: 0.4, random: random() });
    expect([keptOne, masks.weak!.data.join("")]).toEqual([["weak"], "010"]);
  });

  it("hand on the masks of weights that are not scored", () => {
    const other = tensor("bool", [2], Uint8Array.of(0, 1));
    const { masks } = nextMasks(scoresOf({ a: [1, 2] }), { other }, { fraction: 0.5, random: random() });
    expect(masks).toEqual({ other, a: tensor("bool", [2], Uint8Array.of(0, 1)) });
  });

  it("only ever lose elements, and nothing kept scores below what went in this round", () => {
    const layer = fc.array(fc.float({ noNaN: true, min: 0, max: 4 }), { minLength: 1, maxLength: 20 });
    const property = fc.property(
      fc.array(layer, { minLength: 1, maxLength: 4 }),
      fc.double({ min: 0.05, max: 0.9 }),
      (lists, fraction) => {
        const scores = scoresOf(Object.fromEntries(lists.map((list, at) => [`w${at}`, list])));
        const size = lists.flat().length;
        const once = nextMasks(scores, {}, { fraction, random: random() });
        const twice = nextMasks(scores, once.masks, { fraction, random: random() });
        for (const [path, mask] of Object.entries(twice.masks)) {
          mask.data.forEach((bit, at) => {
            expect(bit).toBeLessThanOrEqual(once.masks[path]!.data[at]!);
          });
        }
        if (once.keptOne.length > 0) return;
        expect(Math.abs(kept(once.masks) - (1 - fraction) * size)).toBeLessThanOrEqual(0.5);
        const by = (bit: number) =>
          Object.entries(once.masks).flatMap(([path, mask]) =>
            [...scores.get(path)!.data].filter((_, at) => mask.data[at] === bit),
          );
        expect(Math.max(...by(0), 0)).toBeLessThanOrEqual(Math.min(...by(1), Number.POSITIVE_INFINITY));
      },
    );
    fc.assert(property, { seed: 1, numRuns: 200 });
  });

  it("refuse what cannot be ranked", () => {
    const options = { fraction: 0.5, random: random() };
    const bad =
      (scores: Scores, before: Masks = {}, changed: object = {}) =>
      () =>
        nextMasks(scores, before, { ...options, ...changed });
    expect(bad(scoresOf({ a: [1, Number.NaN] }))).toThrow(/scores of "a" must be numbers; got NaN at element 1/);
    expect(bad(new Map())).toThrow(/at least one weight/);
    expect(bad(scoresOf({ a: [1, 2] }), { a: tensor("bool", [3]) })).toThrow(/earlier mask of "a" must be \[2\]/);
    expect(bad(scoresOf({ a: [1, 2] }), { a: tensor("float32", [2]) as never })).toThrow(
      /must be a bool tensor; got float32/,
    );
    expect(bad(scoresOf({ a: [1, 2] }), {}, { fraction: 1 })).toThrow(/"fraction"/);
    expect(bad(scoresOf({ a: [1, 2] }), {}, { share: 1 })).toThrow(/unknown option "share"/);
  });
});
