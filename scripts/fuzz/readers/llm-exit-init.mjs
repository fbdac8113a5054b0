import { copyFile, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { at, bytesOf, from, throughFile } from "./places.mjs";

const FIXTURES = "packages/llm-exit-init/fixtures";
const STORIES = "apps/bench/assets/llm-stories260k";

export async function targets(folder) {
  const { loadTokens, openDecoder, saveTokens } = await from("packages/llm-exit-init/src/index.ts");
  const { tokenizerOfFolder } = await from("packages/llm-exit-init/src/tokenizers/folder.ts");
  const { openGguf } = await from("packages/llm-exit-init/src/weights/gguf.ts");
  const { openFolderWeights } = await from("packages/llm-exit-init/src/weights/folder.ts");
  const { tokenizerOfGguf } = await from("packages/llm-exit-init/src/tokenizers/gguf.ts");
  const inFolder = async (name, files) => {
    const path = join(folder, name);
    await mkdir(path);
    for (const [file, source] of Object.entries(files)) await copyFile(at(source), join(path, file));
    return path;
  };
  const llama = `${FIXTURES}/decoders/llama`;
  const config = await inFolder("config", { "model.safetensors": `${llama}/model.safetensors` });
  const weights = await inFolder("weights", {});
  const shards = await inFolder("shards", { "a.safetensors": `${llama}/model.safetensors` });
  const pieces = await inFolder("pieces", {});
  const tokenizer = await inFolder("tokenizer", { "config.json": `${llama}/config.json` });
  const sums = join(folder, "sums.safetensors");
  await saveTokens(sums, tokenSums());
  return [
    {
      name: "llm-exit-init.openDecoder, GGUF",
      seeds: ["gpt2", "llama", "qwen2"].map((name) => bytesOf(`${FIXTURES}/decoders/${name}.gguf`)),
      read: throughFile(folder, "decoder.gguf", openDecoder),
    },
    {
      name: "llm-exit-init: vocabulary and number formats of a GGUF file",
      seeds: ["formats", "pieces", "bytes"].map((name) => bytesOf(`${FIXTURES}/gguf/${name}.gguf`)),
      read: throughFile(folder, "parts.gguf", async (path) => {
        const file = await openGguf("fuzz", path);
        try {
          tokenizerOfGguf("fuzz", path, file.metadata);
          for (const name of file.shapes.keys()) await file.read(name);
        } finally {
          await file.close();
        }
      }),
    },
    {
      name: "llm-exit-init.openDecoder, config.json",
      seeds: [bytesOf(`${llama}/config.json`)],
      beside: bytesOf(`${llama}/model.safetensors`).length,
      read: throughFile(config, "config.json", () => openDecoder(config)),
    },
    {
      name: "llm-exit-init: model.safetensors of a folder",
      seeds: [bytesOf(`${llama}/model.safetensors`)],
      read: throughFile(weights, "model.safetensors", () => readAll(openFolderWeights, weights)),
    },
    {
      name: "llm-exit-init: index of shards",
      seeds: [
        Buffer.from(
          JSON.stringify({ weight_map: { "model.norm.weight": "a.safetensors", "lm_head.weight": "a.safetensors" } }),
        ),
      ],
      beside: bytesOf(`${llama}/model.safetensors`).length,
      read: throughFile(shards, "model.safetensors.index.json", () => readAll(openFolderWeights, shards)),
    },
    {
      name: "llm-exit-init: tokens.json",
      seeds: [fewPieces()],
      read: throughFile(pieces, "tokens.json", () => tokenizerOfFolder("fuzz", pieces)),
    },
    {
      name: "llm-exit-init: tokenizer.json",
      seeds: [Buffer.from(JSON.stringify(smallTokenizer()))],
      read: throughFile(tokenizer, "tokenizer.json", async () => {
        const opened = await tokenizerOfFolder("fuzz", tokenizer);
        opened.encode("a b ab");
      }),
    },
    {
      name: "llm-exit-init.loadTokens",
      seeds: [await readFile(sums)],
      read: throughFile(folder, "sums.safetensors", loadTokens),
    },
  ];
}

async function readAll(open, folder) {
  const file = await open("fuzz", folder);
  try {
    for (const name of file.shapes.keys()) await file.read(name);
  } finally {
    await file.close();
  }
}

/** The bytes' pieces of the small model and a few others: the whole list is long. */
function fewPieces() {
  return Buffer.from(JSON.stringify(JSON.parse(bytesOf(`${STORIES}/tokens.json`).toString()).slice(0, 280)));
}

function smallTokenizer() {
  const vocab = { "<s>": 0, a: 1, b: 2, Ġ: 3, ab: 4 };
  return {
    version: "1.0",
    added_tokens: [
      { id: 0, content: "<s>", single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
    ],
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel" },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab,
      merges: [["a", "b"]],
    },
  };
}

function tokenSums() {
  const zeros = (n) => new Float64Array(n);
  const cross = { features: 3, sums: zeros(3), squares: 1, products: zeros(6) };
  return {
    source: "fuzz",
    norm: "none",
    vocabulary: 4,
    features: 2,
    counts: zeros(4),
    sums: zeros(8),
    squares: 1,
    gram: zeros(4),
    cross,
    hidden: null,
  };
}
