import type { DecoderConfig } from "../config.ts";
import { rotaryFrequencies } from "../frequencies.ts";
import type { Family } from "./family.ts";
import { normPlan, tablePlan } from "./linear.ts";

/** Llama as llama2.c saves it (the stories models): its own names, rotary pairs (2i, 2i + 1). */
export const llama2c: Family = {
  name: "llama2.c",
  folder: {
    ignored: /^$/,
    config(caller, fields): DecoderConfig {
      const width = fields.count("dim");
      const heads = fields.count("n_heads");
      const headWidth = width / heads;
      fields.only("activation", ["silu"]);
      return {
        architecture: "llama2.c",
        layers: fields.count("n_layers"),
        width,
        heads,
        keyHeads: fields.count("n_kv_heads", heads),
        headWidth,
        hidden: fields.count("hidden_dim"),
        vocabulary: fields.count("vocab_size"),
        context: fields.count("max_seq_len"),
        norm: { kind: "rms", epsilon: fields.number("norm_eps", 1e-5) },
        positions: {
          kind: "rotary",
          layout: "pairs",
          frequencies: rotaryFrequencies(caller, headWidth, fields.number("rope_theta", 10_000)),
        },
        activation: "silu",
        gated: true,
        parallel: false,
        tied: fields.flag("tie_word_embeddings", true),
      };
    },
    plan({ layers, width, heads, keyHeads, headWidth, hidden, vocabulary, tied }) {
      return {
        embedding: tablePlan("tok_embeddings.weight", vocabulary, width),
        blocks: Array.from({ length: layers }, (_, at) => {
          const block = `layers.${at}`;
          const table = (name: string, rows: number, d: number) => tablePlan(`${block}.${name}.weight`, rows, d);
          return {
            norm1: normPlan(`${block}.attention_norm`, width, false),
            attention: {
              query: table("attention.wq", heads * headWidth, width),
              key: table("attention.wk", keyHeads * headWidth, width),
              value: table("attention.wv", keyHeads * headWidth, width),
              output: table("attention.wo", width, heads * headWidth),
            },
            norm2: normPlan(`${block}.ffn_norm`, width, false),
            mlp: {
              gate: table("feed_forward.w1", hidden, width),
              up: table("feed_forward.w3", hidden, width),
              down: table("feed_forward.w2", width, hidden),
            },
          };
        }),
        norm: normPlan("norm", width, false),
        ...(tied ? {} : { head: tablePlan("output.weight", vocabulary, width) }),
      };
    },
  },
};
