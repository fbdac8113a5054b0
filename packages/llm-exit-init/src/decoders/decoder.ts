import type { Tensor, TreeRecord, Value } from "@exitkit/core-gpu";
import type { Backbone } from "@exitkit/early-exit";
import type { OutputLayer } from "../output-layer.ts";
import type { TextTokenizer } from "../tokenizers/tokenizer.ts";
import type { DecoderConfig } from "./config.ts";

/** What a decoder computes for a batch of n sequences of t tokens. */
export type DecoderResult = {
  /** `block1` … `blockL`: the states after each block, float32 [n, t, d], not normalised. */
  readonly taps: Readonly<Record<string, Value>>;
  /** The last states after the final norm, [n, t, d]: what the head reads. */
  readonly last: Value;
  /** `last · Eᵀ` (+ a bias), [n, t, v]: logits of the token after each. */
  readonly logits: Value;
};

/** Parameters as values of a program, or as tensors, which are constants of it then. */
export type GivenParameters = TreeRecord<Value> | TreeRecord<Tensor>;

/** Options of {@link Decoder.apply}. */
export interface ApplyOptions {
  /**
   * int32 or int64 [n, t]: 1 where there is a token, 0 where there is padding, before or behind. No token attends to padding,
   * and learned positions count tokens only. States at padding mean nothing. Default: tokens everywhere.
   */
  readonly mask?: Value;
}

/** A decoder-only language model: plain functions of its parameters. */
export interface Decoder {
  readonly config: DecoderConfig;
  /**
   * float32: `embedding.weight` [v, d], `positions.weight` where they are learned, `blocks.0` … with `norm1`, `attention`
   * (`query`, `key`, `value`, `output`), `norm2` and `mlp` (`gate`, `up`, `down`), `norm`, and `head` where it is not tied.
   */
  readonly params: TreeRecord<Tensor>;
  /** The final norm and the head's matrix, as closed-form heads take them. */
  readonly output: OutputLayer;
  /** What turns text into its tokens; null where the files have none. */
  readonly tokenizer: TextTokenizer | null;
  /** `block1` … `blockL` */
  readonly taps: readonly string[];
  /**
   * States and logits of token ids, int32 or int64 [n, t], 0 … v − 1.
   *
   * @throws InputError on other tokens or masks, or more of them than the context.
   */
  apply(params: GivenParameters, tokens: Value, options?: ApplyOptions): DecoderResult;
  /** The final norm of states [..., d]. */
  normalise(params: GivenParameters, states: Value): Value;
  /** Logits [..., v] of normalised states [..., d]. */
  head(params: GivenParameters, normalised: Value): Value;
  /**
   * The decoder as a backbone for sequences of t tokens: input int64 [n, t], taps [n, t, d], logits [n·t, v], a row for each
   * token.
   *
   * @throws InputError where t is not 1 … context.
   */
  backbone(t: number): Backbone;
}
