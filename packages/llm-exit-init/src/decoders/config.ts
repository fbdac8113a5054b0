/** How states are normalised before attention, before the MLP and at the end. */
export interface NormConfig {
  /** `rms`: root mean square, no bias; `layer`: mean and variance, with a bias. */
  readonly kind: "rms" | "layer";
  /** Added to the mean square or the variance. */
  readonly epsilon: number;
}

/** How a decoder knows where a token stands. */
export type PositionConfig =
  | {
      /** Queries and keys are turned by angles that grow with the position. */
      readonly kind: "rotary";
      /** Whether feature i is turned with i + r/2 (`half`, Hugging Face) or 2i with 2i + 1 (`pairs`, the original Llama). */
      readonly layout: "half" | "pairs";
      /** `[r/2]`: angle of pair i for each step of position; the first r features of a head turn, the others stay. */
      readonly frequencies: readonly number[];
    }
  | {
      /** A learned row is added to the embedding: row position + offset of the table. */
      readonly kind: "learned";
      readonly offset: number;
    };

/** What a decoder-only language model is made of: plain data, in the house's letters where they have one. */
export interface DecoderConfig {
  /** The family that reads its files: `llama`, `qwen2`, `gpt2`, `opt`, `gpt_neox`, `llama2.c`. */
  readonly architecture: string;
  /** Blocks, L. */
  readonly layers: number;
  /** Features of a state, d. */
  readonly width: number;
  /** Query heads. */
  readonly heads: number;
  /** Key and value heads; divides `heads`. */
  readonly keyHeads: number;
  /** Features of a head. */
  readonly headWidth: number;
  /** Features inside the MLP. */
  readonly hidden: number;
  /** Tokens that can be read and predicted, v. */
  readonly vocabulary: number;
  /** Most tokens of a sequence. */
  readonly context: number;
  readonly norm: NormConfig;
  readonly positions: PositionConfig;
  /** What stands between the MLP's layers. */
  readonly activation: "silu" | "relu" | "gelu" | "geluTanh";
  /** Whether the MLP's first layer is multiplied by an activated gate (SwiGLU). */
  readonly gated: boolean;
  /** Whether attention and MLP read the same state and are added together (GPT-NeoX), not one after the other. */
  readonly parallel: boolean;
  /** Whether the head's weight is the embedding. */
  readonly tied: boolean;
}
