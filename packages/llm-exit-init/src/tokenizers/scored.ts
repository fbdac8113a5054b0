import { libraryTokenizer } from "./library.ts";
import type { TextTokenizer } from "./tokenizer.ts";

/** A token of SentencePiece's kind: text with ▁ for spaces, and how early it is merged. */
export interface ScoredPiece {
  readonly text: string;
  readonly score: number;
  /** `byte`: `<0x0A>`, for what no piece covers; `control`: never made of text; `added`: found in text before all else. */
  readonly kind: "normal" | "byte" | "control" | "added";
}

/** What surrounds the pieces. */
export interface ScoredOptions {
  readonly unknown: number | null;
  readonly beginOfText: number | null;
  readonly endOfText: number | null;
  readonly addBegin: boolean;
  /** Whether a text begins with ▁. */
  readonly spacePrefix: boolean;
}

/**
 * A byte-pair tokenizer of pieces with scores, as SentencePiece's BPE models have them: of all neighbours whose join is a
 * piece, those with the highest score are joined first; what no piece covers becomes its bytes.
 */
export function scoredTokenizer(
  caller: string,
  source: string,
  pieces: readonly ScoredPiece[],
  options: ScoredOptions,
): TextTokenizer {
  const { unknown, beginOfText, endOfText, addBegin, spacePrefix } = options;
  const vocab = Object.fromEntries(pieces.map(({ text }, id) => [text, id]));
  const spaces = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const tokenizer = {
    version: "1.0",
    added_tokens: pieces.flatMap(({ text, kind }, id) =>
      kind === "control" || kind === "added"
        ? [
            {
              id,
              content: text,
              single_word: false,
              lstrip: false,
              rstrip: false,
              normalized: false,
              special: kind === "control",
            },
          ]
        : [],
    ),
    normalizer: spacePrefix ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, spaces] } : spaces,
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(spacePrefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: unknown === null ? null : pieces[unknown]!.text,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab,
      merges: mergesOf(pieces),
    },
  };
  return libraryTokenizer(caller, source, { tokenizer, config: {} }, () => ({ beginOfText, endOfText, addBegin }));
}

/** Every pair of pieces whose join is a piece, the highest score first. */
function mergesOf(pieces: readonly ScoredPiece[]): readonly [string, string][] {
  const ids = new Map(pieces.map(({ text }, id) => [text, id]));
  const merges = pieces.flatMap(({ text, score, kind }) => {
    if (kind !== "normal") return [];
    const characters = [...text];
    return characters.slice(1).flatMap((_, at) => {
      const [left, right] = [characters.slice(0, at + 1).join(""), characters.slice(at + 1).join("")];
      const [first, second] = [ids.get(left), ids.get(right)];
      return first === undefined || second === undefined ? [] : [{ left, right, score, first, second }];
    });
  });
  merges.sort((a, b) => b.score - a.score || a.first - b.first || a.second - b.second);
  return merges.map(({ left, right }) => [left, right]);
}
