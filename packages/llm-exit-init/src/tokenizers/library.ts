import { InputError } from "@exitkit/core-gpu";
import { Tokenizer } from "@huggingface/tokenizers";
import type { TextTokenizer } from "./tokenizer.ts";

/** What the files say of texts' beginnings and ends beside `tokenizer.json`. */
export interface Ends {
  readonly beginOfText: number | null;
  readonly endOfText: number | null;
  /** Whether texts begin with begin-of-text; undefined: as `tokenizer.json` has it. */
  readonly addBegin: boolean | undefined;
}

/** What `tokenizer.json` and `tokenizer_config.json` hold, read or made. */
export interface TokenizerFiles {
  readonly tokenizer: object;
  readonly config: object;
}

/**
 * A tokenizer of `tokenizer.json`'s content, by @huggingface/tokenizers.
 *
 * @throws InputError where the library cannot make one.
 */
export function libraryTokenizer(
  caller: string,
  source: string,
  files: TokenizerFiles,
  endsOf: (idOf: (token: string) => number | null) => Ends,
): TextTokenizer {
  let library: Tokenizer;
  try {
    library = new Tokenizer(files.tokenizer, files.config);
  } catch (error) {
    const actual = error instanceof Error ? error.message : String(error);
    throw new InputError(caller, `the tokenizer of ${source} must be one that can be read`, actual, undefined, error);
  }
  const { beginOfText, endOfText, addBegin } = endsOf((token) => library.token_to_id(token) ?? null);
  let vocabulary = 0;
  for (const id of library.get_vocab(true).values()) vocabulary = Math.max(vocabulary, id + 1);
  for (const id of library.get_added_tokens_decoder().keys()) vocabulary = Math.max(vocabulary, id + 1);
  return {
    vocabulary,
    beginOfText,
    endOfText,
    encode(text, { special = true } = {}) {
      const plain = library.encode(text, { add_special_tokens: false }).ids;
      if (!special) return plain;
      const ids = library.encode(text, { add_special_tokens: true }).ids;
      if (addBegin === undefined || beginOfText === null) return ids;
      // What the post-processor adds is what is not in the plain text.
      const begins = ids.length > plain.length && ids[0] === beginOfText;
      if (addBegin) return begins ? ids : [beginOfText, ...ids];
      return begins ? ids.slice(1) : ids;
    },
    decode: (ids) =>
      ids.length === 0
        ? ""
        : library.decode([...ids], { skip_special_tokens: true, clean_up_tokenization_spaces: false }),
    piece: (id) => library.id_to_token(id),
  };
}
