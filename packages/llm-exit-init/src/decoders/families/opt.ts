import type { DecoderConfig } from "../config.ts";
import type { Family } from "./family.ts";
import { linearPlan, normPlan, tablePlan } from "./linear.ts";

/** The table of positions has two rows before the first: position i has row i + 2. */
const offset = 2;

/** OPT: learned positions from row 2 on that follow the attention mask, layer norms, ReLU, the head tied to the embedding. */
export const opt: Family = {
  name: "opt",
  folder: {
    ignored: /^lm_head\.weight$/,
    config(_, fields): DecoderConfig {
      const width = fields.count("hidden_size");
      const heads = fields.count("num_attention_heads");
      fields.only("activation_function", ["relu"]);
      fields.only("do_layer_norm_before", [true]);
      fields.only("_remove_final_layer_norm", [false]);
      fields.only("enable_bias", [true]);
      fields.only("layer_norm_elementwise_affine", [true]);
      fields.only("word_embed_proj_dim", [width]);
      return {
        architecture: "opt",
        layers: fields.count("num_hidden_layers"),
        width,
        heads,
        keyHeads: heads,
        headWidth: width / heads,
        hidden: fields.count("ffn_dim"),
        vocabulary: fields.count("vocab_size"),
        context: fields.count("max_position_embeddings"),
        norm: { kind: "layer", epsilon: 1e-5 },
        positions: { kind: "learned", offset },
        activation: "relu",
        gated: false,
        parallel: false,
        tied: fields.flag("tie_word_embeddings", true),
      };
    },
    plan({ layers, width, hidden, vocabulary, context, tied }, names) {
      const stem = names.has("model.decoder.embed_tokens.weight") ? "model.decoder" : "decoder";
      return {
        embedding: tablePlan(`${stem}.embed_tokens.weight`, vocabulary, width),
        positions: tablePlan(`${stem}.embed_positions.weight`, context + offset, width),
        blocks: Array.from({ length: layers }, (_, at) => {
          const block = `${stem}.layers.${at}`;
          const projection = (name: string) => linearPlan(`${block}.self_attn.${name}`, [width, width], true);
          return {
            norm1: normPlan(`${block}.self_attn_layer_norm`, width, true),
            attention: {
              query: projection("q_proj"),
              key: projection("k_proj"),
              value: projection("v_proj"),
              output: projection("out_proj"),
            },
            norm2: normPlan(`${block}.final_layer_norm`, width, true),
            mlp: {
              up: linearPlan(`${block}.fc1`, [hidden, width], true),
              down: linearPlan(`${block}.fc2`, [width, hidden], true),
            },
          };
        }),
        norm: normPlan(`${stem}.final_layer_norm`, width, true),
        ...(tied ? {} : { head: tablePlan("lm_head.weight", vocabulary, width) }),
      };
    },
  },
};
