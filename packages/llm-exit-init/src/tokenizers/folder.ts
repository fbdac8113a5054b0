import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { InputError } from "@exitkit/core-gpu";
import { exists, readJson } from "../weights/folder.ts";
import { libraryTokenizer } from "./library.ts";
import { type ScoredPiece, scoredTokenizer } from "./scored.ts";
import type { TextTokenizer } from "./tokenizer.ts";

/**
 * The tokenizer of a model's folder: `tokenizer.json` with what `tokenizer_config.json` says of begin-of-text, or llama2.c's
 * pieces in `tokens.json`; null where there is neither.
 *
 * @throws InputError where a file is there and cannot be used.
 */
export async function tokenizerOfFolder(caller: string, folder: string): Promise<TextTokenizer | null> {
  const path = join(folder, "tokenizer.json");
  if (await exists(path)) {
    const tokenizer = await readJson(caller, path);
    const settings = join(folder, "tokenizer_config.json");
    const config = (await exists(settings)) ? await readJson(caller, settings) : {};
    const model = await readJson(caller, join(folder, "config.json"));
    return libraryTokenizer(caller, path, { tokenizer, config }, (idOf) => ({
      beginOfText: namedToken(config.bos_token, idOf) ?? wholeId(model.bos_token_id),
      endOfText: namedToken(config.eos_token, idOf) ?? wholeId(model.eos_token_id),
      addBegin: typeof config.add_bos_token === "boolean" ? config.add_bos_token : undefined,
    }));
  }
  const pieces = join(folder, "tokens.json");
  return (await exists(pieces)) ? piecesTokenizer(caller, pieces) : null;
}

/** A token written as text or as a record with its content. */
function namedToken(token: unknown, idOf: (token: string) => number | null): number | null {
  const text = typeof token === "object" && token !== null ? (token as { readonly content?: unknown }).content : token;
  return typeof text === "string" ? idOf(text) : null;
}

function wholeId(value: unknown): number | null {
  return Number.isSafeInteger(value) ? (value as number) : null;
}

/** llama2.c's vocabulary: pieces with scores, bytes as `<0x00>` … from id 3 on, begin-of-text 1, end-of-text 2. */
async function piecesTokenizer(caller: string, path: string): Promise<TextTokenizer> {
  let list: unknown;
  try {
    list = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    const actual = error instanceof Error ? error.message : String(error);
    throw new InputError(caller, `${path} must be a readable JSON file`, actual, undefined, error);
  }
  const valid = Array.isArray(list) && list.length > 259 && list.every(isPiece);
  if (!valid) {
    throw new InputError(caller, `${path} must list { id, piece, score } of every token, bytes included`, typeof list);
  }
  const pieces = (list as { readonly piece: string; readonly score: number }[]).map(
    ({ piece, score }, id): ScoredPiece => ({
      // A space is written as itself here; the names of bytes and of the three first tokens are no text.
      text: piece.replaceAll(" ", "▁"),
      score,
      kind: id < 3 ? "control" : id < 259 ? "byte" : "normal",
    }),
  );
  return scoredTokenizer(caller, path, pieces, {
    unknown: 0,
    beginOfText: 1,
    endOfText: 2,
    addBegin: true,
    spacePrefix: true,
  });
}

function isPiece(entry: unknown, id: number): boolean {
  const { id: own, piece, score } = (entry ?? {}) as Readonly<Record<string, unknown>>;
  return own === id && typeof piece === "string" && typeof score === "number";
}
