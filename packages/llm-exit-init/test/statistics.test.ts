import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Device, generator, openDevice, tensor } from "@exitkit/core-gpu";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type AccumulateTokensOptions,
  accumulateTokens,
  type FinalNorm,
  loadTokens,
  mergeTokens,
  type StatesBatch,
  saveTokens,
  statisticsBytes,
  type TokenStatistics,
  takeRows,
} from "../src/index.ts";
import { randomBatch, relative } from "./text.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

const size = { n: 3, t: 7, d: 5, v: 11, last: 4 };
const stream = Array.from({ length: 6 }, (_, seed) => randomBatch(generator(seed), size));
const options = { vocabulary: size.v, cross: true, skip: 1 } as const;
const accumulated = (batches: readonly StatesBatch[], more: Partial<AccumulateTokensOptions> = {}) =>
  accumulateTokens(device, batches, { ...options, ...more });

function difference(a: TokenStatistics, b: TokenStatistics): number {
  expect([...a.counts]).toEqual([...b.counts]);
  expect([a.source, a.norm, a.vocabulary, a.features]).toEqual([b.source, b.norm, b.vocabulary, b.features]);
  return Math.max(
    relative(a.sums, b.sums),
    relative([a.squares], [b.squares]),
    relative(a.gram!, b.gram!),
    relative(a.cross!.sums, b.cross!.sums),
    relative([a.cross!.squares], [b.cross!.squares]),
    relative(a.cross!.products, b.cross!.products),
  );
}

/** The same sums, position by position in float64. */
function plainly(batches: readonly StatesBatch[], change = (x: number[]) => x): TokenStatistics {
  const { t, d, v, last } = size;
  const result = {
    source: "",
    norm: "none" as const,
    hidden: null,
    vocabulary: v,
    features: d,
    counts: new Float64Array(v),
    sums: new Float64Array(v * d),
    squares: 0,
    gram: new Float64Array(d * d),
    cross: { features: last, sums: new Float64Array(last), squares: 0, products: new Float64Array(d * last) },
  };
  for (const { states, tokens, last: lastStates } of batches) {
    for (let at = 0; at + 1 < tokens.length; at++) {
      if (at % t < 1 || at % t === t - 1) continue;
      const x = change([...states.data.subarray(at * d, (at + 1) * d)]);
      const z = [...lastStates!.data.subarray(at * last, (at + 1) * last)];
      const next = tokens[at + 1]!;
      result.counts[next]! += 1;
      x.forEach((value, i) => {
        result.sums[next * d + i]! += value;
        result.squares += value ** 2;
        for (let j = 0; j < d; j++) result.gram[i * d + j]! += value * x[j]!;
        for (let j = 0; j < last; j++) result.cross.products[i * last + j]! += value * z[j]!;
      });
      z.forEach((value, j) => {
        result.cross.sums[j]! += value;
        result.cross.squares += value ** 2;
      });
    }
  }
  return result;
}

describe("statistics of one pass", () => {
  it("are the sums over positions, by the next token", async () => {
    expect(difference(await accumulated(stream), plainly(stream))).toBeLessThan(1e-6);
  });

  it("keep what varies little beside a large mean", async () => {
    const far = stream.map((batch) => ({
      ...batch,
      states: tensor(
        "float32",
        batch.states.shape,
        batch.states.data.map((value) => 4000 + value),
      ),
    }));
    const { gram, counts, sums } = await accumulated(far);
    const expected = plainly(far);
    const n = counts.reduce((sum, count) => sum + count);
    const covariance = (of: TokenStatistics) => {
      const mean = Array.from({ length: size.d }, (_, i) =>
        Array.from({ length: size.v }, (_, u) => of.sums[u * size.d + i]!).reduce((a, b) => a + b),
      );
      return of.gram!.map((value, at) => value / n - (mean[Math.floor(at / size.d)]! * mean[at % size.d]!) / n ** 2);
    };
    expect(relative(sums, expected.sums)).toBeLessThan(1e-12);
    const found = covariance({ ...expected, gram, sums });
    expect(relative(found, covariance(expected))).toBeLessThan(1e-4);
  });

  it.each(["rms", "layer"] as const)("are of states after the final norm %s where asked for", async (kind) => {
    const weight = tensor("float32", [5], [1, 2, 0.5, -1, 3]);
    const bias = tensor("float32", [5], [0, 1, 2, 3, 4]);
    const finalNorm: FinalNorm = { kind, weight, epsilon: 1e-3, ...(kind === "layer" ? { bias } : {}) };
    const normed = (x: number[]) => {
      const mean = kind === "rms" ? 0 : x.reduce((a, b) => a + b) / 5;
      const scale = Math.sqrt(x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 5 + 1e-3);
      return x.map((value, i) => ((value - mean) / scale) * weight.data[i]! + (kind === "rms" ? 0 : bias.data[i]!));
    };
    const found = await accumulated(stream, { norm: "final", finalNorm });
    expect(found.norm).toBe("final");
    expect(difference({ ...found, norm: "none" }, plainly(stream, normed))).toBeLessThan(1e-6);
  });

  it("go on where an earlier pass ended", async () => {
    const begun = await accumulated(stream.slice(0, 2));
    const before = structuredClone(begun);
    const whole = await accumulated(stream.slice(2), { resume: begun });
    expect(difference(whole, await accumulated(stream))).toBe(0);
    expect(begun).toEqual(before);
  });

  it("any split, merged in any order, is the whole", async () => {
    const shards = await Promise.all(stream.map((batch) => accumulated([batch])));
    const whole = await accumulated(stream);
    fc.assert(
      fc.property(
        fc.shuffledSubarray([...shards.keys()], { minLength: shards.length }),
        fc.infiniteStream(fc.nat()),
        (order, choices) => {
          const left = order.map((index) => shards[index]!);
          for (const choice of choices) {
            if (left.length === 1) break;
            const at = choice % (left.length - 1);
            left.splice(at, 2, mergeTokens(left[at]!, left[at + 1]!));
          }
          expect(difference(left[0]!, whole)).toBeLessThan(1e-12);
        },
      ),
      { numRuns: 30 },
    );
  });

  it("take the bytes that are stated", async () => {
    const { counts, sums, gram, cross } = await accumulated(stream);
    const arrays = [counts, sums, gram!, cross!.sums, cross!.products];
    expect(statisticsBytes(size.v, size.d, size.last)).toBe(
      arrays.reduce((sum, { byteLength }) => sum + byteLength, 0),
    );
  });
});

describe("files of statistics", () => {
  const folder = mkdtempSync(join(tmpdir(), "exitkit-tokens-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  it("give back what was saved", async () => {
    for (const more of [{}, { cross: false }, { cross: false, gram: false, source: "block 2" }]) {
      const statistics = await accumulated(stream, more);
      await saveTokens(join(folder, "a.safetensors"), statistics);
      expect(await loadTokens(join(folder, "a.safetensors"))).toEqual(statistics);
    }
    expect(readdirSync(folder)).toEqual(["a.safetensors"]);
  });

  it("are refused where they are cut short or something else", async () => {
    const path = join(folder, "a.safetensors");
    await saveTokens(path, await accumulated(stream));
    const bytes = readFileSync(path);
    writeFileSync(join(folder, "short.safetensors"), bytes.subarray(0, bytes.length - 9));
    await expect(loadTokens(join(folder, "short.safetensors"))).rejects.toThrow(/short\.safetensors/);
    const other = Buffer.from(bytes.toString("latin1").replace("exitkit/llm", "exitkit/xyz"), "latin1");
    writeFileSync(join(folder, "other.safetensors"), other);
    await expect(loadTokens(join(folder, "other.safetensors"))).rejects.toThrow(/must hold token statistics/);
    await expect(loadTokens(join(folder, "none.safetensors"))).rejects.toThrow(/none\.safetensors/);
  });
});

describe("what is refused", () => {
  const bad = (batch: object, more: object = {}) => accumulated([{ ...stream[0]!, ...batch }], more);

  it("tokens of another vocabulary, states of other shapes, missing last states", async () => {
    await expect(bad({ tokens: stream[0]!.tokens }, { vocabulary: 5 })).rejects.toThrow(
      /tokens must be 0 … 4.*tokenizer/s,
    );
    await expect(bad({ tokens: [1, 2] })).rejects.toThrow(/tokens must have n · t = 21 numbers; got 2/);
    await expect(bad({ states: tensor("float32", [21, 5]) })).rejects.toThrow(
      /states must be float32 \[n, t, d\]; got float32 \[21, 5\]/,
    );
    await expect(bad({ states: undefined })).rejects.toThrow(/states must be float32.*got none/);
    await expect(bad({ last: undefined })).rejects.toThrow(/last must be float32 \[3, 7, d′\]/);
    const wider = randomBatch(generator(9), { ...size, d: 6 });
    await expect(accumulated([stream[0]!, wider])).rejects.toThrow(/states must be float32 \[n, t, 5\]/);
    await expect(accumulated([null as never])).rejects.toThrow(/got none/);
  });

  it("tensors of ONNX Runtime and integer tensors of tokens are read as our own", async () => {
    const theirs = stream.map(({ states, tokens, last, mask }) => ({
      states: { dims: states.shape, type: "float32", data: states.data },
      tokens: { dims: states.shape.slice(0, 2), type: "int64", data: BigInt64Array.from(tokens as Int32Array, BigInt) },
      last: { dims: last!.shape, type: "float32", data: last!.data },
      ...(mask === undefined ? {} : { mask: tensor("int64", states.shape.slice(0, 2), Array.from(mask, BigInt)) }),
    }));
    expect(await accumulateTokens(device, theirs, options)).toEqual(await accumulated(stream));
    const rows = { vocabulary: size.v, skip: 1 };
    expect(await takeRows(theirs, rows)).toEqual(await takeRows(stream, rows));
  });

  it("states that are not finite, naming the batch", async () => {
    const data = stream[1]!.states.data.slice();
    data[3 * size.d] = Number.NaN;
    const states = tensor("float32", stream[1]!.states.shape, data);
    await expect(accumulated([stream[0]!, { ...stream[1]!, states }])).rejects.toThrow(
      /must be finite; got NaN.*batch 1/,
    );
  });

  it("more memory than allowed, before it is taken", async () => {
    await expect(accumulated(stream, { vocabulary: 50_000, maxBytes: 1e6 })).rejects.toThrow(
      /may take 1000000 bytes; got 2400392 for a vocabulary of 50000 and 5 features/,
    );
  });

  it("text too short, no norm, an earlier pass of something else, shards of different things", async () => {
    await expect(accumulated([])).rejects.toThrow(/at least one token/);
    await expect(accumulated(stream, { skip: 6 })).rejects.toThrow(/at least one token.*smaller skip/s);
    await expect(accumulated(stream, { norm: "final" })).rejects.toThrow(/Pass finalNorm/);
    const finalNorm = { kind: "rms", weight: tensor("float32", [4]), epsilon: 1e-5 } as const;
    await expect(accumulated(stream, { norm: "final", finalNorm })).rejects.toThrow(/weight must be float32 \[5\]/);
    const begun = await accumulated(stream);
    await expect(accumulated(stream, { resume: begun, cross: false })).rejects.toThrow(/to resume from/);
    expect(() => mergeTokens(begun, { ...begun, source: "block 9" })).toThrow(/same source; got {2}and block 9/);
    expect(() => mergeTokens(begun, { ...begun, gram: null })).toThrow(/Gram matrix/);
    await expect(accumulated(stream, { shards: 2 } as never)).rejects.toThrow(/unknown option "shards"/);
  });
});
