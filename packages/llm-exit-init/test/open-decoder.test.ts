import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  generator,
  InputError,
  layers,
  openDevice,
  optimisers,
  spec,
  tensor,
  trace,
  training,
} from "@exitkit/core-gpu";
import { exitNetwork, heads, trainExits } from "@exitkit/early-exit";
import { afterAll, describe, expect, test } from "vitest";
import { openDecoder } from "../src/index.ts";
import { compute, error, folder, golden } from "./decoder-fixtures.ts";

const work = await mkdtemp(join(tmpdir(), "decoders-"));
const device = await openDevice("cpu");
afterAll(async () => {
  await device.close();
  await rm(work, { recursive: true });
});

/** A copy of a fixture's folder with other settings. */
async function copyOf(name: string, settings: object = {}): Promise<string> {
  const copy = await mkdtemp(join(work, "copy-"));
  await cp(join(folder, name), copy, { recursive: true });
  const config = JSON.parse(await readFile(join(copy, "config.json"), "utf8"));
  await writeFile(join(copy, "config.json"), JSON.stringify({ ...config, ...settings }));
  return copy;
}

/** A tokenizer of that many one-letter tokens. */
function tokenizerOf(tokens: number): string {
  const vocab = Object.fromEntries(Array.from({ length: tokens }, (_, id) => [String.fromCharCode(0x3b1 + id), id]));
  const parts = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  const model = { type: "BPE", vocab, merges: [], ignore_merges: false };
  return JSON.stringify({ version: "1.0", added_tokens: [], ...parts, model });
}

describe("settings", () => {
  test.each([
    [
      "more features that turn than any head has",
      { head_dim: 2 ** 32 },
      /at most 65536 features of a head may turn.*got 4294967296/,
    ],
    [
      "more blocks than the files have tensors",
      { num_hidden_layers: 2 ** 40 },
      /must hold the weights of 1099511627776 blocks; got \d+ tensors/,
    ],
    [
      "an unknown architecture, naming those that are known",
      { model_type: "mamba" },
      /must be one of llama, qwen2, gpt2, opt, gpt_neox, llama2\.c; got "mamba"/,
    ],
    ["none at all", { model_type: undefined }, /must have a text as "model_type"; got nothing/],
    [
      "a size that is missing",
      { hidden_size: undefined },
      /must have a whole number ≥ 1 as "hidden_size"; got nothing/,
    ],
    ["a size that is no whole number", { num_hidden_layers: 1.5 }, /as "num_hidden_layers"; got 1\.5/],
    ["another activation", { hidden_act: "gelu" }, /"hidden_act" of .* must be "silu"; got "gelu"/],
    [
      "a scaling that is not implemented",
      { rope_parameters: { rope_type: "yarn" } },
      /must be default, linear or llama3; got "yarn"/,
    ],
    [
      "key heads that do not divide the heads",
      { num_key_value_heads: 3 },
      /key heads must divide the heads; got 3 and 4/,
    ],
    [
      "more layers than the file has",
      { num_hidden_layers: 3 },
      /must hold the tensor "model\.layers\.2\..*; got 9 missing/,
    ],
    [
      "fewer",
      { num_hidden_layers: 1 },
      /must hold only tensors of its architecture; got 9 that nothing reads, "model\.layers\.1/,
    ],
    [
      "another vocabulary",
      { vocab_size: 41 },
      /"model\.embed_tokens\.weight" of .* must be \[41, 16\]; got \[40, 16\]/,
    ],
  ] as const)("%s", async (_, settings, message) => {
    await expect(openDecoder(await copyOf("llama", settings))).rejects.toThrow(message);
  });
});

describe("files", () => {
  test("no such path, a folder without a model, a tokenizer that is no JSON", async () => {
    await expect(openDecoder(join(work, "none"))).rejects.toThrow(/no such file/);
    await expect(openDecoder(undefined as never)).rejects.toThrow(InputError);
    await expect(openDecoder(await mkdtemp(join(work, "empty-")))).rejects.toThrow(/must hold a config\.json/);
    const copy = await copyOf("llama");
    await rm(join(copy, "model.safetensors"));
    await expect(openDecoder(copy)).rejects.toThrow(
      /must hold model\.safetensors or model\.safetensors\.index\.json; got neither/,
    );
    await writeFile(join(copy, "tokenizer.json"), "{");
    await expect(openDecoder(copy)).rejects.toThrow(/tokenizer\.json must be a readable JSON file/);
    await expect(openDecoder(join(folder, "versions.json"))).rejects.toThrow(/must be a GGUF file; got .*magic/);
  });

  test("an index that names files outside, or tensors that their file has not", async () => {
    const copy = await copyOf("qwen2");
    const path = join(copy, "model.safetensors.index.json");
    const index = JSON.parse(await readFile(path, "utf8"));
    const [first] = Object.keys(index.weight_map);
    for (const [file, message] of [
      ["../model.safetensors", /must name files of its folder; got "\.\.\/model\.safetensors"/],
      ["model-00003-of-00002.safetensors", /no such file/],
    ] as const) {
      await writeFile(path, JSON.stringify({ weight_map: { ...index.weight_map, [first!]: file } }));
      await expect(openDecoder(copy)).rejects.toThrow(message);
    }
    const other = Object.values(index.weight_map).find((file) => file !== index.weight_map[first!]);
    await writeFile(path, JSON.stringify({ weight_map: { ...index.weight_map, [first!]: other } }));
    await expect(openDecoder(copy)).rejects.toThrow(/must hold the tensor .*, as model\.safetensors\.index\.json says/);
  });

  test("GGUF and safetensors cut short anywhere are refused", async () => {
    const copy = await copyOf("llama");
    for (const [source, path] of [
      ["llama.gguf", join(work, "cut.gguf")],
      ["llama/model.safetensors", join(copy, "model.safetensors")],
    ] as const) {
      const bytes = await readFile(join(folder, source));
      for (const share of [0, 0.001, 0.02, 0.1, 0.5, 0.9, 1 - 1 / bytes.length]) {
        await writeFile(path, bytes.subarray(0, Math.floor(share * bytes.length)));
        await expect(openDecoder(path.endsWith(".gguf") ? path : copy), `${source} ${share}`).rejects.toThrow(
          InputError,
        );
      }
    }
  });

  test("more memory than there is is foreseen before weights are read", async () => {
    await expect(openDecoder(join(folder, "llama"), { maxBytes: 1000 })).rejects.toThrow(
      /llama needs 0\.00 GiB of memory; got 0\.00 GiB allowed by maxBytes/,
    );
    await expect(openDecoder(join(folder, "llama"), { bytes: 1 } as never)).rejects.toThrow(/unknown option "bytes"/);
  });
});

describe("tokens", () => {
  test("rows beyond the tokenizer's tokens are left out; a tokenizer with more tokens than the model is refused", async () => {
    const wanted = golden("llama");
    const copy = await copyOf("llama");
    await writeFile(join(copy, "tokenizer.json"), tokenizerOf(13));
    const { config, params, tokenizer, apply } = await openDecoder(copy);
    expect([config.vocabulary, tokenizer!.vocabulary]).toEqual([13, 13]);
    expect(layers.flattenParameters(params)["head.weight"]!.shape).toEqual([13, 16]);
    const program = trace(({ tokens }) => apply(params, tokens), { tokens: spec("int64", ["n", "t"]) });
    // Tokens that there are, and the columns of their logits.
    const ids = Array.from(wanted.tokens!.data as BigInt64Array, (id) => Number(id) % 13);
    const whole = await openDecoder(join(folder, "llama"));
    const full = trace(({ tokens }) => whole.apply(whole.params, tokens), { tokens: spec("int64", ["n", "t"]) });
    const feeds = { tokens: tensor("int64", [2, 7], ids) };
    const [cut, all] = [await compute(device, program, feeds), await compute(device, full, feeds)];
    const columns = Array.from(all.logits!.data, Number).filter((_, at) => at % 40 < 13);
    expect(error(cut.logits!, tensor("float32", [2, 7, 13], columns))).toBeLessThan(1e-6);

    await writeFile(join(copy, "tokenizer.json"), tokenizerOf(41));
    await expect(openDecoder(copy)).rejects.toThrow(/must have at most the model's 40 tokens; got 41/);
  });

  test("longer texts than the context, masks of another shape and tokens that are no whole numbers are refused", async () => {
    const { apply, params, backbone } = await openDecoder(join(folder, "llama"));
    const run =
      (dtype: "int64" | "float32", t: number, mask = t) =>
      () =>
        trace(({ x, m }) => ({ ...apply(params, x, { mask: m }) }), {
          x: spec(dtype, [1, t]),
          m: spec("int64", [1, mask]),
        });
    expect(run("int64", 33)).toThrow(/sequences must have 1 to 32 tokens, the model's context; got 33\. Cut the text/);
    expect(run("int64", 7, 6)).toThrow(/the mask must be int32 or int64 \[1, 7\], as the tokens; got int64 \[1, 6\]/);
    expect(run("float32", 7)).toThrow(/tokens must be int32 or int64 \[n, t\]; got float32 \[1, 7\]/);
    expect(() => backbone(33)).toThrow(/1 to 32 tokens/);
    expect(() => backbone(0)).toThrow(/1 to 32 tokens/);
  });
});

test.each(["exits", "all"] as const)("exits for each token train on a decoder's backbone: %s", async (trains) => {
  const { backbone: backboneOf, output } = await openDecoder(join(folder, "gpt-neox"));
  const backbone = backboneOf(7);
  expect([backbone.classes, backbone.units, Object.entries(backbone.taps)]).toEqual([
    40,
    7,
    [
      ["block1", [7, 32]],
      ["block2", [7, 32]],
    ],
  ]);
  expect([output.norm.kind, output.weight.shape]).toEqual(["layer", [40, 32]]);
  const network = exitNetwork(backbone, [{ tap: "block1", head: heads.linear({ tokens: "each" }) }]);
  const random = generator(1);
  const ids = BigInt64Array.from({ length: 16 * 7 }, () => BigInt(random.integer(40)));
  const data = training.tensorDataset({ x: tensor("int64", [16, 7], ids), y: tensor("int64", [16, 7], ids) });
  const { history, params } = await trainExits(device, network, data, {
    trains,
    batchSize: 8,
    epochs: 10,
    generator: generator(2),
    optimiser: optimisers.adam(),
    learningRate: 0.02,
  });
  expect(history.at(-1)!.losses[0]!).toBeLessThan(0.7 * history[0]!.losses[0]!);
  if (trains === "exits") expect(params.backbone).toEqual(backbone.params);
  else expect(history.at(-1)!.losses[1]!).toBeLessThan(0.7 * history[0]!.losses[1]!);
});

test("a decoder is exported: its model gives the same logits", async () => {
  const { backbone: backboneOf } = await openDecoder(join(folder, "opt"));
  const backbone = backboneOf(7);
  const session = await device.load(backbone.toModel(backbone.params));
  const { tokens, logits } = golden("opt");
  const result = await session.run({ x: tokens! });
  expect(error({ ...result.logits!, shape: [2, 7, 40] } as never, logits!)).toBeLessThan(2e-5);
  await session.release();
});

test("what is tied: a GGUF file without a head has the embedding as its head, with one its own", async () => {
  const tied = await openDecoder(join(folder, "gpt2.gguf"));
  const own = await openDecoder(join(folder, "llama.gguf"));
  expect([tied.config.tied, "head" in tied.params]).toEqual([true, false]);
  expect([own.config.tied, "head" in own.params]).toEqual([false, true]);
  expect(tied.output.weight).toBe((tied.params.embedding as { weight: unknown }).weight);
});
