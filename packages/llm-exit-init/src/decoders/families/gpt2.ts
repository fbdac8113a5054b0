import { columnsAsRows, rowRange } from "../../weights/arrange.ts";
import type { Fields } from "../../weights/fields.ts";
import type { WeightPlan } from "../../weights/source.ts";
import type { DecoderConfig } from "../config.ts";
import type { Family } from "./family.ts";
import { linearPlan, normPlan, tablePlan } from "./linear.ts";

const activations: Readonly<Record<string, DecoderConfig["activation"]>> = {
  gelu_new: "geluTanh",
  gelu_pytorch_tanh: "geluTanh",
  gelu: "gelu",
  relu: "relu",
};

/** A layer saved as [in, out], transposed: columns from … to − 1. */
function transposed(stem: string, shape: readonly [number, number], from: number, to: number) {
  const bias: WeightPlan = { name: `${stem}.bias`, shape: shape.slice(1), take: rowRange(from, to) };
  const weight: WeightPlan = { name: `${stem}.weight`, shape, take: columnsAsRows(from, to) };
  return { weight, bias };
}

/** One of query, key and value, which GGUF files hold as one layer [3·d, d]. */
function joined(stem: string, d: number, part: number) {
  const take = rowRange(part * d, (part + 1) * d);
  return linearPlan(stem, [3 * d, d], true, take);
}

function plain(fields: Fields, vocabulary: number, names: { readonly [name: string]: string }): DecoderConfig {
  const width = fields.count(names.width!);
  const heads = fields.count(names.heads!);
  return {
    architecture: "gpt2",
    layers: fields.count(names.layers!),
    width,
    heads,
    keyHeads: heads,
    headWidth: width / heads,
    hidden: fields.count(names.hidden!, 4 * width),
    vocabulary,
    context: fields.count(names.context!),
    norm: { kind: "layer", epsilon: fields.number(names.epsilon!, 1e-5) },
    positions: { kind: "learned", offset: 0 },
    activation: "geluTanh",
    gated: false,
    parallel: false,
    tied: true,
  };
}

/** GPT-2: learned positions, layer norms, GELU by tanh, the head tied to the embedding. */
export const gpt2: Family = {
  name: "gpt2",
  folder: {
    ignored: /\.attn\.(masked_)?bias$|^lm_head\.weight$/,
    config(_, fields) {
      fields.only("scale_attn_weights", [true]);
      fields.only("scale_attn_by_inverse_layer_idx", [false]);
      fields.only("activation_function", Object.keys(activations));
      fields.only("add_cross_attention", [false]);
      const names = {
        ...{ width: "n_embd", heads: "n_head", layers: "n_layer", hidden: "n_inner", context: "n_positions" },
        epsilon: "layer_norm_epsilon",
      };
      const activation = activations[fields.text("activation_function", "gelu_new")]!;
      const tied = fields.flag("tie_word_embeddings", true);
      return { ...plain(fields, fields.count("vocab_size"), names), activation, tied };
    },
    plan({ layers, width, hidden, vocabulary, context, tied }, names) {
      const stem = names.has("transformer.wte.weight") ? "transformer." : "";
      return {
        embedding: tablePlan(`${stem}wte.weight`, vocabulary, width),
        positions: tablePlan(`${stem}wpe.weight`, context, width),
        blocks: Array.from({ length: layers }, (_, at) => {
          const block = `${stem}h.${at}`;
          const part = (index: number) =>
            transposed(`${block}.attn.c_attn`, [width, 3 * width], index * width, (index + 1) * width);
          return {
            norm1: normPlan(`${block}.ln_1`, width, true),
            attention: {
              query: part(0),
              key: part(1),
              value: part(2),
              output: transposed(`${block}.attn.c_proj`, [width, width], 0, width),
            },
            norm2: normPlan(`${block}.ln_2`, width, true),
            mlp: {
              up: transposed(`${block}.mlp.c_fc`, [width, hidden], 0, hidden),
              down: transposed(`${block}.mlp.c_proj`, [hidden, width], 0, width),
            },
          };
        }),
        norm: normPlan(`${stem}ln_f`, width, true),
        ...(tied ? {} : { head: tablePlan("lm_head.weight", vocabulary, width) }),
      };
    },
  },
  gguf: {
    ignored: /^$/,
    config(_, fields) {
      const of = (name: string) => `gpt2.${name}`;
      const names = {
        ...{ width: of("embedding_length"), heads: of("attention.head_count"), layers: of("block_count") },
        ...{ hidden: of("feed_forward_length"), context: of("context_length") },
        epsilon: of("attention.layer_norm_epsilon"),
      };
      const vocabulary = fields.count(of("vocab_size"));
      return { ...plain(fields, vocabulary, names), tied: false };
    },
    plan({ layers, width, hidden, vocabulary, context }, names) {
      return {
        embedding: tablePlan("token_embd.weight", vocabulary, width),
        positions: tablePlan("position_embd.weight", context, width),
        blocks: Array.from({ length: layers }, (_, at) => {
          const block = `blk.${at}`;
          return {
            norm1: normPlan(`${block}.attn_norm`, width, true),
            attention: {
              query: joined(`${block}.attn_qkv`, width, 0),
              key: joined(`${block}.attn_qkv`, width, 1),
              value: joined(`${block}.attn_qkv`, width, 2),
              output: linearPlan(`${block}.attn_output`, [width, width], true),
            },
            norm2: normPlan(`${block}.ffn_norm`, width, true),
            mlp: {
              up: linearPlan(`${block}.ffn_up`, [hidden, width], true),
              down: linearPlan(`${block}.ffn_down`, [width, hidden], true),
            },
          };
        }),
        norm: normPlan("output_norm", width, true),
        ...(names.has("output.weight") ? { head: tablePlan("output.weight", vocabulary, width) } : {}),
      };
    },
  },
};
