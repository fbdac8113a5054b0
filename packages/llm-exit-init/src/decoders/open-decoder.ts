import { stat } from "node:fs/promises";
import { join } from "node:path";
import { InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { tokenizerOfFolder } from "../tokenizers/folder.ts";
import { tokenizerOfGguf } from "../tokenizers/gguf.ts";
import type { TextTokenizer } from "../tokenizers/tokenizer.ts";
import { fieldsOf } from "../weights/fields.ts";
import { exists, openFolderWeights, readJson } from "../weights/folder.ts";
import { openGguf } from "../weights/gguf.ts";
import { checkMemory } from "../weights/memory.ts";
import { exportOf, folderOf, openExportWeights } from "../weights/onnx.ts";
import { checkWeights, readWeights, type WeightSource } from "../weights/source.ts";
import { checkConfig } from "./check-config.ts";
import type { DecoderConfig } from "./config.ts";
import type { Decoder } from "./decoder.ts";
import type { Layout } from "./families/family.ts";
import { layoutOf } from "./families/index.ts";
import { type DecoderParameters, decoderOf } from "./program.ts";
import { withVocabulary } from "./vocabulary.ts";

/** Options of {@link openDecoder}. */
export interface OpenDecoderOptions {
  /** Most bytes that reading may take. Default: what is free. */
  readonly maxBytes?: number;
}

const caller = "llm-exit-init.openDecoder";
const optionsSchema = z.strictObject({ maxBytes: z.number().positive().optional() });

/**
 * Opens a decoder-only language model with its tokenizer: a folder as Hugging Face's transformers saves it (`config.json`,
 * safetensors in one file or in shards, `tokenizer.json`), a folder with an ONNX export in place of safetensors (`model.onnx` or
 * `onnx/model.onnx`; that file's own path will do), or a GGUF file. Weights become float32, whatever the files' numbers are.
 *
 * Of an ONNX export, of input ids alone or with mask, positions and past, the weights are taken, by the names that PyTorch's exporters keep; what is
 * computed is the family's own program.
 *
 * Families: Llama (TinyLlama, SmolLM2), Qwen2, GPT-2, OPT, GPT-NeoX (Pythia), and Llama as llama2.c saves it.
 *
 * Differs: an embedding with more rows than the tokenizer has tokens (padding) is cut, so that no token that does not exist
 * can win.
 *
 * @throws InputError on an unknown architecture, naming those that are known; a setting that is missing, out of range or not
 * implemented; files that are cut short, or hold other tensors than the configuration says; a tokenizer with more tokens than
 * the model; more memory than there is, before weights are read.
 * @example
 * ```ts
 * import { openDecoder } from "@exitkit/llm-exit-init";
 * const decoder = await openDecoder("stories260K");
 * console.assert(decoder.config.layers === 5 && decoder.taps.at(-1) === "block5");
 * console.assert(decoder.tokenizer?.decode(decoder.tokenizer.encode("Once upon a time")) === "Once upon a time");
 * ```
 */
export async function openDecoder(path: string, options?: OpenDecoderOptions): Promise<Decoder> {
  const { maxBytes } = parseOptions(caller, optionsSchema, options);
  if (typeof path !== "string" || path === "") {
    throw new InputError(caller, "the path of a folder, a GGUF file or an ONNX export is needed", typeof path);
  }
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => null,
  );
  if (isFolder === null)
    throw new InputError(caller, `must be able to read ${path}`, "no such file", "Check the path.");
  if (isFolder) return openFolder(path, await exportOf(path), maxBytes);
  return path.endsWith(".onnx") ? openFolder(await folderOf(path), path, maxBytes) : openFile(path, maxBytes);
}

/** @param exported An ONNX export that has the weights; null where they are safetensors. */
async function openFolder(folder: string, exported: string | null, maxBytes: number | undefined): Promise<Decoder> {
  const path = join(folder, "config.json");
  if (!(await exists(path))) {
    throw new InputError(
      caller,
      `${folder} must hold a config.json`,
      "none",
      "Give the folder of a model, or a GGUF file.",
    );
  }
  const values = await readJson(caller, path);
  const fields = fieldsOf(caller, path, values);
  // llama2.c's own settings name no type.
  const architecture = fields.text(
    "model_type",
    fields.has("n_kv_heads") && fields.has("dim") ? "llama2.c" : undefined,
  );
  const layout = layoutOf(caller, "folder", architecture, path);
  const config = checkConfig(caller, path, layout.config(caller, fields));
  const tokenizer = await tokenizerOfFolder(caller, folder);
  const weights =
    exported === null
      ? await openFolderWeights(caller, folder)
      : await openExportWeights(caller, exported, architecture, maxBytes);
  try {
    return await assemble(layout, config, weights, tokenizer, maxBytes);
  } finally {
    await weights.close();
  }
}

async function openFile(path: string, maxBytes: number | undefined): Promise<Decoder> {
  const file = await openGguf(caller, path);
  try {
    const architecture = fieldsOf(caller, path, file.metadata).text("general.architecture");
    // Older files do not state the vocabulary: it is the embedding's rows.
    const rows = file.shapes.get("token_embd.weight")?.[0];
    const fields = fieldsOf(caller, path, { [`${architecture}.vocab_size`]: rows, ...file.metadata });
    const layout = layoutOf(caller, "gguf", architecture, path);
    const names = new Set(file.shapes.keys());
    const read = layout.config(caller, fields);
    const config = checkConfig(caller, path, { ...read, tied: !names.has("output.weight") });
    return await assemble(layout, config, file, tokenizerOfGguf(caller, path, file.metadata), maxBytes);
  } finally {
    await file.close();
  }
}

async function assemble(
  layout: Layout,
  config: DecoderConfig,
  weights: WeightSource,
  tokenizer: TextTokenizer | null,
  maxBytes: number | undefined,
): Promise<Decoder> {
  if (config.layers > weights.shapes.size) {
    const actual = `${weights.shapes.size} tensors`;
    throw new InputError(caller, `${weights.source} must hold the weights of ${config.layers} blocks`, actual);
  }
  const plan = layout.plan(config, new Set(weights.shapes.keys()));
  const parameters = checkWeights(caller, weights, plan, layout.ignored);
  const largest = Math.max(
    ...[...weights.shapes.values()].map((shape) => shape.reduce((size, side) => size * side, 1)),
  );
  checkMemory(caller, weights.source, parameters, 4 * largest, maxBytes);
  const params = (await readWeights(weights, plan)) as DecoderParameters;
  const fitted = withVocabulary(caller, weights.source, config, params, tokenizer);
  return decoderOf(fitted.config, fitted.params, tokenizer);
}
