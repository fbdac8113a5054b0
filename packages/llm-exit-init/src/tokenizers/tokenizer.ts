/** Text to token ids and back, as the model's own files say. */
export interface TextTokenizer {
  /** Number of ids, 0 … v − 1. */
  readonly vocabulary: number;
  /** Id that begins a text, where the files name one. */
  readonly beginOfText: number | null;
  /** Id that ends a text, where the files name one. */
  readonly endOfText: number | null;
  /**
   * Ids of a text. Begin-of-text and the like are added exactly where the files say so, once.
   *
   * @param options.special False: nothing is added, for text that goes on. Default true.
   */
  encode(text: string, options?: { readonly special?: boolean }): readonly number[];
  /** The text of ids, special tokens left out. */
  decode(ids: readonly number[]): string;
  /** One id as it is written in the vocabulary, for people; undefined for an id that it has not. */
  piece(id: number): string | undefined;
}
