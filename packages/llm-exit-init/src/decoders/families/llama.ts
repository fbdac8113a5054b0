import { halvesFromPairs } from "../../weights/arrange.ts";
import type { Fields } from "../../weights/fields.ts";
import type { DecoderConfig } from "../config.ts";
import { configuredFrequencies, rotaryFrequencies } from "../frequencies.ts";
import type { Family, Layout } from "./family.ts";
import { linearPlan, normPlan, tablePlan } from "./linear.ts";

/** Which of its linear layers have a bias. */
interface Biases {
  readonly attention: (fields: Fields) => boolean;
  readonly output: (fields: Fields) => boolean;
  readonly mlp: (fields: Fields) => boolean;
}

interface LlamaConfig extends DecoderConfig {
  /** Of queries, keys and values; of attention's output; of the MLP. */
  readonly biases: { readonly attention: boolean; readonly output: boolean; readonly mlp: boolean };
}

const shared = { activation: "silu", gated: true, parallel: false } as const;

function folder(architecture: string, biases: Biases): Layout {
  return {
    ignored: /rotary_emb\.inv_freq$|^lm_head\.weight$/,
    config(caller, fields): LlamaConfig {
      const width = fields.count("hidden_size");
      const heads = fields.count("num_attention_heads");
      const headWidth = fields.count("head_dim", width / heads);
      fields.only("hidden_act", ["silu"]);
      fields.only("use_sliding_window", [false]);
      return {
        architecture,
        layers: fields.count("num_hidden_layers"),
        width,
        heads,
        keyHeads: fields.count("num_key_value_heads", heads),
        headWidth,
        hidden: fields.count("intermediate_size"),
        vocabulary: fields.count("vocab_size"),
        context: fields.count("max_position_embeddings", 2048),
        norm: { kind: "rms", epsilon: fields.number("rms_norm_eps", 1e-6) },
        positions: {
          kind: "rotary",
          layout: "half",
          frequencies: configuredFrequencies(caller, fields, headWidth, 10_000),
        },
        ...shared,
        tied: fields.flag("tie_word_embeddings", false),
        biases: { attention: biases.attention(fields), output: biases.output(fields), mlp: biases.mlp(fields) },
      };
    },
    plan(config, names) {
      const { layers, width, heads, keyHeads, headWidth, hidden, vocabulary, tied, biases } = config as LlamaConfig;
      const stem = names.has("model.embed_tokens.weight") ? "model." : "";
      return {
        embedding: tablePlan(`${stem}embed_tokens.weight`, vocabulary, width),
        blocks: Array.from({ length: layers }, (_, at) => {
          const block = `${stem}layers.${at}`;
          const attention = `${block}.self_attn`;
          return {
            norm1: normPlan(`${block}.input_layernorm`, width, false),
            attention: {
              query: linearPlan(`${attention}.q_proj`, [heads * headWidth, width], biases.attention),
              key: linearPlan(`${attention}.k_proj`, [keyHeads * headWidth, width], biases.attention),
              value: linearPlan(`${attention}.v_proj`, [keyHeads * headWidth, width], biases.attention),
              output: linearPlan(`${attention}.o_proj`, [width, heads * headWidth], biases.output),
            },
            norm2: normPlan(`${block}.post_attention_layernorm`, width, false),
            mlp: {
              gate: linearPlan(`${block}.mlp.gate_proj`, [hidden, width], biases.mlp),
              up: linearPlan(`${block}.mlp.up_proj`, [hidden, width], biases.mlp),
              down: linearPlan(`${block}.mlp.down_proj`, [width, hidden], biases.mlp),
            },
          };
        }),
        norm: normPlan(`${stem}norm`, width, false),
        ...(tied ? {} : { head: tablePlan("lm_head.weight", vocabulary, width) }),
      };
    },
  };
}

/** @param permuted Whether the converter put rows of queries and keys into the order of rotary pairs (2i, 2i + 1). */
function gguf(architecture: string, permuted: boolean): Layout {
  return {
    ignored: /^$/,
    config(caller, fields): DecoderConfig {
      const of = (name: string) => `${architecture}.${name}`;
      const width = fields.count(of("embedding_length"));
      const heads = fields.count(of("attention.head_count"));
      const headWidth = fields.count(of("attention.key_length"), width / heads);
      fields.only(of("rope.dimension_count"), [headWidth]);
      fields.only(of("expert_count"), [0]);
      fields.only(of("rope.scaling.type"), ["none", "linear"]);
      const scaled =
        fields.text(of("rope.scaling.type"), "none") === "linear" ? of("rope.scaling.factor") : of("rope.scale_linear");
      const factor = fields.number(scaled, 1);
      return {
        architecture,
        layers: fields.count(of("block_count")),
        width,
        heads,
        keyHeads: fields.count(of("attention.head_count_kv"), heads),
        headWidth,
        hidden: fields.count(of("feed_forward_length")),
        vocabulary: fields.count(of("vocab_size")),
        context: fields.count(of("context_length")),
        norm: { kind: "rms", epsilon: fields.number(of("attention.layer_norm_rms_epsilon")) },
        positions: {
          kind: "rotary",
          layout: "half",
          frequencies: rotaryFrequencies(caller, headWidth, fields.number(of("rope.freq_base"), 10_000)).map(
            (f) => f / factor,
          ),
        },
        ...shared,
        tied: false,
      };
    },
    plan({ layers, width, heads, keyHeads, headWidth, hidden, vocabulary }, names) {
      return {
        embedding: tablePlan("token_embd.weight", vocabulary, width),
        blocks: Array.from({ length: layers }, (_, at) => {
          const block = `blk.${at}`;
          const bias = (name: string) => names.has(`${block}.${name}.bias`);
          const linear = (name: string, shape: [number, number], heads?: number) =>
            linearPlan(`${block}.${name}`, shape, bias(name), permuted && heads ? halvesFromPairs(heads) : undefined);
          return {
            norm1: normPlan(`${block}.attn_norm`, width, false),
            attention: {
              query: linear("attn_q", [heads * headWidth, width], heads),
              key: linear("attn_k", [keyHeads * headWidth, width], keyHeads),
              value: linear("attn_v", [keyHeads * headWidth, width]),
              output: linear("attn_output", [width, heads * headWidth]),
            },
            norm2: normPlan(`${block}.ffn_norm`, width, false),
            mlp: {
              gate: linear("ffn_gate", [hidden, width]),
              up: linear("ffn_up", [hidden, width]),
              down: linear("ffn_down", [width, hidden]),
            },
          };
        }),
        norm: normPlan("output_norm", width, false),
        // A file without a head has the embedding as its head.
        ...(names.has("output.weight") ? { head: tablePlan("output.weight", vocabulary, width) } : {}),
      };
    },
  };
}

/** Llama, TinyLlama, SmolLM2: rotary positions, grouped-query attention, RMS norms, SwiGLU. */
export const llama: Family = {
  name: "llama",
  folder: folder("llama", {
    attention: (fields) => fields.flag("attention_bias", false),
    output: (fields) => fields.flag("attention_bias", false),
    mlp: (fields) => fields.flag("mlp_bias", false),
  }),
  gguf: gguf("llama", true),
};

/** Qwen2 and 2.5: Llama with biases of queries, keys and values. */
export const qwen2: Family = {
  name: "qwen2",
  folder: folder("qwen2", { attention: () => true, output: () => false, mlp: () => false }),
  gguf: gguf("qwen2", false),
};
