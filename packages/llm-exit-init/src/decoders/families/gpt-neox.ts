import { partOfHeads, rowRange } from "../../weights/arrange.ts";
import type { DecoderConfig } from "../config.ts";
import { configuredFrequencies, rotaryFrequencies } from "../frequencies.ts";
import type { Family } from "./family.ts";
import { linearPlan, normPlan, tablePlan } from "./linear.ts";

const activations: Readonly<Record<string, DecoderConfig["activation"]>> = {
  gelu: "gelu",
  gelu_new: "geluTanh",
  gelu_pytorch_tanh: "geluTanh",
  gelu_fast: "geluTanh",
  relu: "relu",
};

/** Features of a head that turn: an even number. */
const turning = (headWidth: number, share: number): number => Math.floor(headWidth * share);

/** GPT-NeoX and Pythia: attention and MLP side by side, the first quarter of a head turns, layer norms, a head of its own. */
export const gptNeox: Family = {
  name: "gpt_neox",
  folder: {
    ignored: /attention\.(masked_)?bias$|rotary_emb\.inv_freq$/,
    config(caller, fields): DecoderConfig {
      const width = fields.count("hidden_size");
      const heads = fields.count("num_attention_heads");
      const headWidth = width / heads;
      fields.only("hidden_act", Object.keys(activations));
      fields.only("attention_bias", [true]);
      const share = fields.below("rope_parameters").number("partial_rotary_factor", fields.number("rotary_pct", 0.25));
      const base = fields.number("rotary_emb_base", 10_000);
      return {
        architecture: "gpt_neox",
        layers: fields.count("num_hidden_layers"),
        width,
        heads,
        keyHeads: heads,
        headWidth,
        hidden: fields.count("intermediate_size"),
        vocabulary: fields.count("vocab_size"),
        context: fields.count("max_position_embeddings", 2048),
        norm: { kind: "layer", epsilon: fields.number("layer_norm_eps", 1e-5) },
        positions: {
          kind: "rotary",
          layout: "half",
          frequencies: configuredFrequencies(caller, fields, turning(headWidth, share), base),
        },
        activation: activations[fields.text("hidden_act", "gelu")]!,
        gated: false,
        parallel: fields.flag("use_parallel_residual", true),
        tied: fields.flag("tie_word_embeddings", false),
      };
    },
    plan({ layers, width, heads, hidden, vocabulary, tied }, names) {
      const stem = names.has("gpt_neox.embed_in.weight") ? "gpt_neox." : "";
      return {
        embedding: tablePlan(`${stem}embed_in.weight`, vocabulary, width),
        blocks: Array.from({ length: layers }, (_, at) => {
          const block = `${stem}layers.${at}`;
          const part = (index: number) =>
            linearPlan(`${block}.attention.query_key_value`, [3 * width, width], true, partOfHeads(heads, 3, index));
          return {
            norm1: normPlan(`${block}.input_layernorm`, width, true),
            attention: {
              query: part(0),
              key: part(1),
              value: part(2),
              output: linearPlan(`${block}.attention.dense`, [width, width], true),
            },
            norm2: normPlan(`${block}.post_attention_layernorm`, width, true),
            mlp: {
              up: linearPlan(`${block}.mlp.dense_h_to_4h`, [hidden, width], true),
              down: linearPlan(`${block}.mlp.dense_4h_to_h`, [width, hidden], true),
            },
          };
        }),
        norm: normPlan(`${stem}final_layer_norm`, width, true),
        ...(tied
          ? {}
          : {
              head: tablePlan(names.has("embed_out.weight") ? "embed_out.weight" : "lm_head.weight", vocabulary, width),
            }),
      };
    },
  },
  gguf: {
    ignored: /^$/,
    config(caller, fields): DecoderConfig {
      const of = (name: string) => `gptneox.${name}`;
      const width = fields.count(of("embedding_length"));
      const heads = fields.count(of("attention.head_count"));
      return {
        architecture: "gpt_neox",
        layers: fields.count(of("block_count")),
        width,
        heads,
        keyHeads: heads,
        headWidth: width / heads,
        hidden: fields.count(of("feed_forward_length")),
        vocabulary: fields.count(of("vocab_size")),
        context: fields.count(of("context_length")),
        norm: { kind: "layer", epsilon: fields.number(of("attention.layer_norm_epsilon")) },
        positions: {
          kind: "rotary",
          layout: "half",
          frequencies: rotaryFrequencies(
            caller,
            fields.count(of("rope.dimension_count")),
            fields.number(of("rope.freq_base"), 10_000),
          ),
        },
        activation: "gelu",
        gated: false,
        parallel: fields.flag(of("use_parallel_residual"), true),
        tied: false,
      };
    },
    plan({ layers, width, hidden, vocabulary }, names) {
      return {
        embedding: tablePlan("token_embd.weight", vocabulary, width),
        blocks: Array.from({ length: layers }, (_, at) => {
          const block = `blk.${at}`;
          const part = (index: number) =>
            linearPlan(`${block}.attn_qkv`, [3 * width, width], true, rowRange(index * width, (index + 1) * width));
          return {
            norm1: normPlan(`${block}.attn_norm`, width, true),
            attention: {
              query: part(0),
              key: part(1),
              value: part(2),
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
