import { InputError, rows, type Tensor } from "@exitkit/core-gpu";
import type { TextTokenizer } from "../tokenizers/tokenizer.ts";
import type { DecoderConfig } from "./config.ts";
import type { DecoderParameters } from "./program.ts";

/**
 * Fits the model to its tokenizer: rows of embedding and head beyond the tokens (padding to a round number) are left out, so
 * that they never win.
 *
 * @throws InputError where the tokenizer has tokens that the model has not.
 */
export function withVocabulary(
  caller: string,
  source: string,
  config: DecoderConfig,
  params: DecoderParameters,
  tokenizer: TextTokenizer | null,
): { readonly config: DecoderConfig; readonly params: DecoderParameters } {
  const tokens = tokenizer?.vocabulary ?? config.vocabulary;
  if (tokens > config.vocabulary) {
    const expectation = `the tokenizer of ${source} must have at most the model's ${config.vocabulary} tokens`;
    throw new InputError(caller, expectation, String(tokens), "Take the tokenizer that belongs to the model.");
  }
  if (tokens === config.vocabulary) return { config, params };
  const first = (table: Tensor) => rows(table, 0, tokens);
  const { embedding, head } = params;
  const own = head === undefined ? {} : { head: { ...head, weight: first(head.weight) } };
  return {
    config: { ...config, vocabulary: tokens },
    params: { ...params, embedding: { weight: first(embedding.weight) }, ...own },
  };
}
