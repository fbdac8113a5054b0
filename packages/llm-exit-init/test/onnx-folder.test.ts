import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { generator, onnx, openDevice, optimisers, readModelFile, spec, trace, writeModelFile } from "@exitkit/core-gpu";
import { trainExits } from "@exitkit/early-exit";
import { afterAll, describe, expect, test } from "vitest";
import {
  accumulateDecoder,
  attachHeads,
  heads,
  judgeHeads,
  openDecoder,
  readTap,
  tokensOnly,
  windowDataset,
} from "../src/index.ts";
import { compute, error } from "./decoder-fixtures.ts";
import { onnxGolden } from "./onnx-fixtures.ts";

// Exports by PyTorch's two exporters, made by fixtures/generate_onnx.py with these settings.
const exports = fileURLToPath(new URL("../fixtures/onnx/", import.meta.url));
const shared = { vocab_size: 40, layer_norm_epsilon: 1e-5 };
const settings = {
  "llama-past": {
    ...{ model_type: "llama", hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 4 },
    ...{ num_key_value_heads: 2, max_position_embeddings: 32, rms_norm_eps: 1e-6, ...shared },
  },
  "gpt2-past": { model_type: "gpt2", n_embd: 16, n_layer: 2, n_head: 4, n_positions: 32, ...shared },
} as const;
type Name = keyof typeof settings;

const work = await mkdtemp(join(tmpdir(), "exports-"));
const device = await openDevice("cpu");
afterAll(async () => {
  await device.close();
  await rm(work, { recursive: true });
});

/** A folder as Optimum (`model.onnx`) or transformers.js (`onnx/model.onnx`) leaves it. */
async function folderWith(name: Name, place: string, change: object = {}): Promise<string> {
  const folder = await mkdtemp(join(work, "model-"));
  await writeFile(join(folder, "config.json"), JSON.stringify({ ...settings[name], ...change }));
  await mkdir(join(folder, place, ".."), { recursive: true });
  await cp(join(exports, `${name}.onnx`), join(folder, place));
  return folder;
}

const windowsOf = (tokens: readonly number[], length: number) => ({ tokens: Int32Array.from(tokens), length });

describe.each(["llama-past", "gpt2-past"] as const)("%s", (name) => {
  const wanted = onnxGolden(name);

  test("a folder gives PyTorch's logits, of mask, positions and past or of ids alone; the file's path does too", async () => {
    const whole = await folderWith(name, "model.onnx");
    const inner = await folderWith(name, "onnx/model.onnx");
    const alone = await folderWith(name, "model.onnx");
    await writeModelFile(join(alone, "model.onnx"), tokensOnly(await readModelFile(join(exports, `${name}.onnx`))));
    for (const path of [whole, inner, alone, join(whole, "model.onnx"), join(inner, "onnx/model.onnx")]) {
      const { apply, params, config, taps } = await openDecoder(path);
      expect([config.layers, config.width, config.vocabulary, taps]).toEqual([2, 16, 40, ["block1", "block2"]]);
      const program = trace(({ tokens }) => ({ logits: apply(params, tokens).logits }), {
        tokens: spec("int64", [2, 7]),
      });
      const { logits } = await compute(device, program, { tokens: wanted.tokens! });
      expect(error(logits!, wanted.logits!)).toBeLessThan(2e-5);
    }
  });

  test("statistics, heads and training work on it as on any decoder", async () => {
    const decoder = await openDecoder(await folderWith(name, "model.onnx"));
    const random = generator(1);
    const text = windowsOf(
      Array.from({ length: 64 * 9 }, () => random.integer(40)),
      9,
    );
    const exits = [{ tap: "block1", norm: "final" }, { tap: "block2" }] as const;
    const [statistics, atTheEnd] = await accumulateDecoder(device, decoder, text, { exits });
    expect(statistics!.counts.reduce((sum, count) => sum + count, 0)).toBe(64 * 7);
    // Copying at the last block is the model itself.
    const copy = heads.copy(decoder.output, { norm: "final" });
    const judged = await judgeHeads(device, [copy], readTap(device, decoder, text, "block2"), {
      output: decoder.output,
    });
    expect(judged.heads[0]!.agreement).toBe(1);
    expect(atTheEnd!.features).toBe(16);
    const { network, params } = attachHeads(
      decoder,
      [{ tap: "block1", head: await heads.linearMap(device, statistics!, decoder.output) }],
      8,
    );
    const { history, params: after } = await trainExits(device, network, windowDataset(text), {
      ...{ params, trains: "exits", batchSize: 16, epochs: 5, generator: generator(2) },
      ...{ optimiser: optimisers.adam(), learningRate: 0.01 },
    });
    expect(history.at(-1)!.losses[0]!).toBeLessThan(history[0]!.losses[0]!);
    expect(after.backbone).toEqual(params.backbone);
  });
});

describe("refuses", () => {
  test("settings of another model, no settings, a file that is cut short, too little memory, matrices without a name", async () => {
    const other = await folderWith("llama-past", "model.onnx", { num_hidden_layers: 3 });
    await expect(openDecoder(other)).rejects.toThrow(/must hold the tensor "model\.layers\.2\./);
    const narrow = await folderWith("gpt2-past", "model.onnx", { n_embd: 8 });
    await expect(openDecoder(narrow)).rejects.toThrow(/"transformer\.wte\.weight" of .*model\.onnx must be \[40, 8\]/);
    await expect(openDecoder(join(exports, "gpt2-past.onnx"))).rejects.toThrow(/must hold a config\.json/);
    const folder = await folderWith("gpt2-past", "model.onnx");
    await expect(openDecoder(folder, { maxBytes: 1000 })).rejects.toThrow(/model\.onnx needs .* of memory/);
    await writeFile(join(folder, "model.onnx"), new Uint8Array([8, 10, 58, 127]));
    await expect(openDecoder(folder)).rejects.toThrow(/model\.onnx/);
    const nameless = await folderWith("llama-past", "model.onnx");
    const { proto } = await readModelFile(join(nameless, "model.onnx"));
    const node = proto.graph!.node.map((one) => onnx.changed(one, { name: "" }));
    const graph = onnx.changed(proto.graph!, { node });
    await writeModelFile(join(nameless, "model.onnx"), { proto: onnx.changed(proto, { graph }) });
    await expect(openDecoder(nameless)).rejects.toThrow(/must hold the tensor "model\.layers\.0\.self_attn\.q_proj/);
    // The newer exporter says in its metadata what a product belongs to.
    const scoped = proto.graph!.node.map((one) => {
      const module = /^\/(.+)\/MatMul$/.exec(one.name)?.[1]?.replaceAll("/", ".");
      if (module === undefined) return one;
      const value = `['', 'model', '${module}', 'linear']`;
      return onnx.changed(one, {
        name: "node_linear",
        metadataProps: [{ $typeName: "onnx.StringStringEntryProto", key: "pkg.torch.onnx.name_scopes", value }],
      });
    });
    const renamed = onnx.changed(proto.graph!, { node: scoped });
    await writeModelFile(join(nameless, "model.onnx"), { proto: onnx.changed(proto, { graph: renamed }) });
    expect((await openDecoder(nameless)).config.architecture).toBe("llama");
  });
});
