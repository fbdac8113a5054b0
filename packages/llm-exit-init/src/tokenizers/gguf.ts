import { InputError } from "@exitkit/core-gpu";
import { libraryTokenizer } from "./library.ts";
import { type ScoredPiece, scoredTokenizer } from "./scored.ts";
import type { TextTokenizer } from "./tokenizer.ts";

type Metadata = Readonly<Record<string, unknown>>;

/** What the file says a token is, by its number. */
const kinds = { normal: 1, unknown: 2, control: 3, added: 4, unused: 5, byte: 6 } as const;

/** How text is cut before bytes are merged: GPT-2's words. */
const words = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
const bytes = { ...words, use_regex: false };

/** Words as an expression says, then bytes. */
const cut = (expression: string) => ({
  type: "Sequence",
  pretokenizers: [{ type: "Split", pattern: { Regex: expression }, behavior: "Isolated", invert: false }, bytes],
});
const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+";
const others = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** By llama.cpp's names of how text is cut. */
const cuts: Readonly<Record<string, object>> = {
  "gpt-2": words,
  olmo: words,
  smollm: { type: "Sequence", pretokenizers: [{ type: "Digits", individual_digits: true }, words] },
  "llama-bpe": cut(`${contractions}|\\p{N}{1,3}|${others}`),
  qwen2: cut(`${contractions}|\\p{N}|${others}`),
};

/**
 * The tokenizer of a GGUF file's own vocabulary: byte-level pairs by merges (`gpt2`), or pieces with scores (`llama`); null
 * where the file has no vocabulary.
 *
 * @throws InputError on another kind, a way of cutting text that is not known, or lists that do not fit one another.
 */
export function tokenizerOfGguf(caller: string, path: string, metadata: Metadata): TextTokenizer | null {
  const key = (name: string) => metadata[`tokenizer.ggml.${name}`];
  const kind = key("model");
  if (kind === undefined) return null;
  const source = `the vocabulary of ${path}`;
  const refuse = (expectation: string, actual: string) => new InputError(caller, `${source} ${expectation}`, actual);
  const tokens = key("tokens");
  if (!isList(tokens, "string")) throw refuse("must be a list of texts", typeof tokens);
  const types = key("token_type") ?? tokens.map(() => kinds.normal);
  if (!isList(types, "number") || types.length !== tokens.length) {
    throw refuse(
      `must have a type for each of its ${tokens.length} tokens`,
      `${(types as unknown[]).length ?? typeof types}`,
    );
  }
  const id = (name: string): number | null => {
    const value = key(name);
    if (value === undefined) return null;
    if (Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < tokens.length)
      return value as number;
    throw refuse(`must hold the token that ${name} names`, String(value));
  };
  const ends = { beginOfText: id("bos_token_id"), endOfText: id("eos_token_id") };
  const flag = (name: string, fallback: boolean): boolean => {
    const value = key(name) ?? fallback;
    if (typeof value !== "boolean") throw refuse(`must say true or false of ${name}`, String(value));
    return value;
  };
  if (kind === "llama") {
    const scores = key("scores");
    if (!isList(scores, "number") || scores.length !== tokens.length) {
      throw refuse(
        `must have a score for each of its ${tokens.length} tokens`,
        Array.isArray(scores) ? `${scores.length}` : "none",
      );
    }
    return scoredTokenizer(
      caller,
      path,
      tokens.map((text, at): ScoredPiece => ({ text, score: scores[at]!, kind: pieceKind(types[at]!) })),
      {
        ...ends,
        unknown: id("unknown_token_id"),
        addBegin: flag("add_bos_token", true),
        spacePrefix: flag("add_space_prefix", true),
      },
    );
  }
  if (kind !== "gpt2") throw refuse('must be of the kind "gpt2" or "llama"', JSON.stringify(kind));
  const merges = key("merges");
  if (!isList(merges, "string")) throw refuse("must have a list of merges", typeof merges);
  const pre = key("pre");
  const cutting = typeof pre === "string" && Object.hasOwn(cuts, pre) ? cuts[pre] : undefined;
  if (cutting === undefined) {
    throw refuse(`must say how text is cut: one of ${Object.keys(cuts).join(", ")}`, JSON.stringify(pre) ?? "nothing");
  }
  const tokenizer = {
    version: "1.0",
    added_tokens: tokens.flatMap((content, at) => {
      const type = types[at]!;
      const special = type === kinds.control || type === kinds.unknown;
      if (!special && type !== kinds.added) return [];
      return [{ id: at, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }];
    }),
    normalizer: pre === "qwen2" ? { type: "NFC" } : null,
    pre_tokenizer: cutting,
    post_processor: null,
    decoder: bytes,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: pre === "llama-bpe",
      vocab: Object.fromEntries(tokens.map((text, at) => [text, at])),
      merges: merges.map((pair) => {
        // Only the first space can part them: tokens of bytes have none.
        const at = pair.indexOf(" ", 1);
        return [pair.slice(0, at), pair.slice(at + 1)];
      }),
    },
  };
  const addBegin = flag("add_bos_token", false);
  return libraryTokenizer(caller, path, { tokenizer, config: {} }, () => ({ ...ends, addBegin }));
}

function pieceKind(type: number): ScoredPiece["kind"] {
  if (type === kinds.byte) return "byte";
  if (type === kinds.added) return "added";
  return type === kinds.control || type === kinds.unknown ? "control" : "normal";
}

function isList(value: unknown, of: "string"): value is readonly string[];
function isList(value: unknown, of: "number"): value is readonly number[];
function isList(value: unknown, of: "string" | "number"): boolean {
  return Array.isArray(value) && value.every((element) => typeof element === of);
}
