import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Device, generator, layers, openDevice, optimisers, type Tensor } from "@exitkit/core-gpu";
import { lossWeights, type TrainExitsOptions, trainExits } from "@exitkit/early-exit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  accumulateDecoder,
  attachHeads,
  cutWindows,
  heads,
  judgeExits,
  judgeHeads,
  readStates,
  statesAt,
  windowDataset,
} from "../src/index.ts";
import { relative } from "./text.ts";
import { tinyConfig, tinyDecoder, tinyText } from "./tiny-decoder.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const decoder = tinyDecoder();
const output = decoder.output;
const text = tinyText(20, 13);
const flat = (params: object): Record<string, Tensor> => layers.flattenParameters(params as never);

async function classAwareAt(...taps: readonly string[]) {
  const found = await accumulateDecoder(device, decoder, text, { exits: taps.map((tap) => ({ tap })) });
  return taps.map((tap, at) => ({ tap, head: heads.classAware(found[at]!) }));
}

async function all(batchSize: number) {
  const found = [];
  for await (const states of readStates(device, decoder, text, { batchSize })) found.push(states);
  return found;
}

describe("windows of text", () => {
  it("are cut one behind the other, and are their own labels", async () => {
    expect([...cutWindows([1, 2, 3, 4, 5, 6, 7], 3).tokens]).toEqual([1, 2, 3, 4, 5, 6]);
    const data = windowDataset(cutWindows([1, 2, 3, 4, 5, 6], 3));
    const { x, y } = await data.batch(Int32Array.of(1, 0), generator(1));
    expect([data.size, x!.shape, [...x!.data], [...y!.data]]).toEqual([2, [2, 2], [4n, 5n, 1n, 2n], [5n, 6n, 2n, 3n]]);
    expect(() => cutWindows([1, 2], 3)).toThrow(/at least 3 tokens; got 2/);
    expect(() => cutWindows([1, 2], 1)).toThrow(/≥ 2; got 1/);
    expect(() => cutWindows(undefined as never, 4)).toThrow(/at least 4 tokens; got 0/);
  });
});

describe("states of a decoder", () => {
  it("are the same whatever the batches, and the last ones make the model's own logits", async () => {
    const [whole] = await all(20);
    const parts = await all(3);
    for (const tap of decoder.taps) {
      const joined = parts.flatMap((part) => [...part.taps[tap]!.data]);
      expect(relative(joined, whole!.taps[tap]!.data)).toBeLessThan(1e-5);
    }
    expect(parts.map(({ tokens }) => tokens.length / 13)).toEqual([3, 3, 3, 3, 3, 3, 2]);
    // The last block's state through the final norm is what the head reads.
    const copied = heads.copy(output, { norm: "final" });
    const { heads: scores, full } = await judgeHeads(device, [copied], [statesAt(whole!, "block3")], { output });
    expect(scores[0]!.agreement).toBe(1);
    expect(scores[0]!.crossEntropy).toBeCloseTo(full.crossEntropy, 5);
  });

  it("with a final norm that has a bias make the model's own logits too", async () => {
    const other = tinyDecoder({ ...tinyConfig, norm: { kind: "layer", epsilon: 1e-3 } });
    const copied = heads.copy(other.output, { norm: "final" });
    const { network, params } = attachHeads(other, [{ tap: "block3", head: copied }], 12);
    expect(Object.keys(flat(params.exits[0]!)).sort()).toEqual([
      "linear.bias",
      "linear.weight",
      "norm.bias",
      "norm.weight",
    ]);
    const [exit, full] = await judgeExits(device, network, params, text);
    expect(exit).toEqual({ ...full, name: "block3" });
    for await (const states of readStates(device, other, text)) {
      const options = { output: other.output };
      const { heads: scores, full: own } = await judgeHeads(device, [copied], [statesAt(states, "block3")], options);
      expect(scores[0]!.agreement).toBe(1);
      expect(scores[0]!.crossEntropy).toBeCloseTo(own.crossEntropy, 5);
    }
  });

  it("refuse taps, tokens and windows that the decoder does not have", async () => {
    const read = async (options: object, windows = text) => {
      for await (const _ of readStates(device, decoder, windows, options)) return;
    };
    await expect(read({ taps: ["block4"] })).rejects.toThrow(/block1 to block3; got "block4"/);
    await expect(read({}, tinyText(2, 25))).rejects.toThrow(/24 tokens, the model's context; got 25/);
    await expect(read({}, cutWindows([1, 2, 13], 3))).rejects.toThrow(/tokens must be 0 … 12.*got 13 at 2.*tokenizer/s);
    await expect(read({ batch: 3 })).rejects.toThrow(/unknown option "batch"/);
  });
});

describe("statistics of a decoder", () => {
  it("of several exits in one pass are those of each", async () => {
    const exits = [{ tap: "block1" }, { tap: "block2", norm: "final" }, { tap: "block1", norm: "final" }] as const;
    const together = await accumulateDecoder(device, decoder, text, { exits, cross: true, border: 4 });
    for (const [at, exit] of exits.entries()) {
      const [alone] = await accumulateDecoder(device, decoder, text, {
        exits: [exit],
        cross: true,
        border: 4,
        batchSize: 20,
      });
      const one = together[at]!;
      expect([one.source, one.norm]).toEqual([exit.tap, "norm" in exit ? "final" : "none"]);
      expect([...one.counts]).toEqual([...alone!.counts]);
      expect(one.counts[4]).toBe(0);
      expect(relative(one.sums, alone!.sums)).toBeLessThan(1e-5);
      expect(relative(one.gram!, alone!.gram!)).toBeLessThan(1e-5);
      expect(relative(one.cross!.products, alone!.cross!.products)).toBeLessThan(1e-5);
    }
  });

  it("go on where they were", async () => {
    const exits = [{ tap: "block1" }, { tap: "block3" }];
    const half = { tokens: text.tokens.subarray(0, 8 * 13), length: 13 };
    const rest = { tokens: text.tokens.subarray(8 * 13), length: 13 };
    const begun = await accumulateDecoder(device, decoder, half, { exits });
    const whole = await accumulateDecoder(device, decoder, rest, { exits, resume: begun });
    expect(whole).toEqual(await accumulateDecoder(device, decoder, text, { exits }));
  });
});

describe("heads on a decoder", () => {
  it("say what they say alone, and the last exit is the model, bit for bit", async () => {
    const exits = await classAwareAt("block1", "block2");
    exits.push({ tap: "block3", head: heads.copy(output, { norm: "final" }) });
    const { network, params } = attachHeads(decoder, exits, 12);
    expect(network.exits.map(({ name }) => name)).toEqual(["block1", "block2", "block3"]);
    const [states] = await all(20);
    const scores = await judgeExits(device, network, params, text, { batchSize: 7 });
    for (const [at, { tap, head }] of exits.entries()) {
      const alone = await judgeHeads(device, [head], [statesAt(states!, tap)], { output });
      expect(scores[at]!.accuracy).toBeCloseTo(alone.heads[0]!.accuracy, 10);
      expect(scores[at]!.agreement).toBeCloseTo(alone.heads[0]!.agreement, 10);
      expect(scores[at]!.crossEntropy).toBeCloseTo(alone.heads[0]!.crossEntropy, 4);
      expect(scores[3]!.accuracy).toBeCloseTo(alone.full.accuracy, 10);
      expect(scores[3]!.crossEntropy).toBeCloseTo(alone.full.crossEntropy, 4);
    }
    expect(scores[2]).toEqual({ ...scores[3], name: "block3" });
  });

  it("predict far better at once than a copy or a random head, on text that is easy to foretell", async () => {
    const [aware] = await classAwareAt("block1");
    const random = { tap: "block1", head: heads.randomUniform(generator(1), { vocabulary: 13, features: 8 }) };
    const judged = async (exit: typeof random) => {
      const { network, params } = attachHeads(decoder, [exit], 12);
      return (await judgeExits(device, network, params, tinyText(20, 13, 2)))[0]!.accuracy;
    };
    expect(await judged(aware!)).toBeGreaterThan(0.5);
    expect(await judged(random)).toBeLessThan(0.3);
    expect(await judged({ tap: "block1", head: heads.copy(output) })).toBeLessThan(0.3);
  });

  it("are refused where they do not fit", async () => {
    const [exit] = await classAwareAt("block1");
    const wide = heads.randomUniform(generator(1), { vocabulary: 13, features: 9 });
    const other = heads.randomUniform(generator(1), { vocabulary: 14, features: 8 });
    expect(() => attachHeads(decoder, [], 12)).toThrow(/at least one exit/);
    expect(() => attachHeads(decoder, [{ tap: "block9", head: exit!.head }], 12)).toThrow(
      /block1 to block3; got "block9"/,
    );
    expect(() => attachHeads(decoder, [{ tap: "block1", head: wide }], 12)).toThrow(/must be \[13, 8\].*got \[13, 9\]/);
    expect(() => attachHeads(decoder, [{ tap: "block1", head: other }], 12)).toThrow(/got \[14, 8\]/);
    expect(() => attachHeads(decoder, [{ tap: "block1", head: null as never }], 12)).toThrow(/head/);
    expect(() => attachHeads(decoder, [exit!], 99)).toThrow(/context/);
    const back = [{ tap: "block2", head: exit!.head }, exit!];
    expect(() => attachHeads(decoder, back, 12)).toThrow(/order|before|after/);
    const { network, params } = attachHeads(decoder, [exit!], 12);
    await expect(judgeExits(device, network, params, tinyText(4, 12))).rejects.toThrow(/must have 13 tokens.*got 12/);
  });
});

describe("training token exits", () => {
  const options = (changed: Partial<TrainExitsOptions>): TrainExitsOptions => ({
    ...{
      trains: "exits",
      batchSize: 5,
      epochs: 3,
      generator: generator(4),
      optimiser: optimisers.adam(),
      learningRate: 0.01,
    },
    ...changed,
  });

  it("frozen changes the heads alone; they learn", async () => {
    const exits = await classAwareAt("block1", "block2");
    const { network, params } = attachHeads(decoder, exits, 12);
    const before = structuredClone(params);
    const trained = await trainExits(device, network, windowDataset(text), options({ params, epochs: 5 }));
    expect(trained.params.backbone).toEqual(before.backbone);
    expect(params).toEqual(before);
    const losses = trained.history.map((epoch) => epoch.losses);
    for (const j of [0, 1]) expect(losses[4]![j]).toBeLessThan(losses[0]![j]!);
    expect(losses[4]![2]).toBeCloseTo(losses[0]![2]!, 5);
  });

  it("not frozen moves every parameter; an exit of weight 0 and the last one alone leave its head as it was", async () => {
    const exits = [{ tap: "block2", head: heads.copy(output, { norm: "final" }) }];
    const { network, params } = attachHeads(decoder, exits, 12);
    const trained = await trainExits(device, network, windowDataset(text), options({ params, trains: "all" }));
    const start = flat(params);
    for (const [path, { data }] of Object.entries(flat(trained.params)))
      expect(data, path).not.toEqual(start[path]!.data);
    const weights = lossWeights.constant([0, 1]);
    const alone = await trainExits(
      device,
      network,
      windowDataset(text),
      options({ params, trains: "all", lossWeights: weights }),
    );
    expect(alone.params.exits).toEqual(params.exits);
    expect(alone.history[2]!.losses[1]).toBeLessThan(alone.history[0]!.losses[1]!);
  });

  it("killed and resumed has the same bits, and is judged after every epoch", async () => {
    const { network, params } = attachHeads(decoder, await classAwareAt("block2"), 12);
    const evaluate: NonNullable<TrainExitsOptions["evaluate"]> = async ({ readParams }) => {
      const [exit, full] = await judgeExits(device, network, await readParams(), text);
      return {
        accuracy: exit!.accuracy,
        crossEntropy: exit!.crossEntropy,
        agreement: exit!.agreement,
        full: full!.accuracy,
      };
    };
    const whole = await trainExits(device, network, windowDataset(text), options({ params, trains: "all", evaluate }));
    const folder = mkdtempSync(join(tmpdir(), "exitkit-token-exits-"));
    try {
      const checkpoint = { folder, everySteps: 1 };
      const common = options({ params, trains: "all", evaluate, checkpoint });
      let steps = 0;
      const stopped = await trainExits(device, network, windowDataset(text), {
        ...common,
        onStep: () => (++steps === 6 ? "stop" : undefined),
      });
      expect(stopped.steps).toBe(6);
      const resumed = await trainExits(device, network, windowDataset(text), {
        ...common,
        generator: generator(4),
        resume: true,
      });
      expect(resumed.params).toEqual(whole.params);
      expect(resumed.history).toEqual(whole.history);
      expect(whole.history.map(({ evaluation }) => Object.keys(evaluation).length)).toEqual([4, 4, 4]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
