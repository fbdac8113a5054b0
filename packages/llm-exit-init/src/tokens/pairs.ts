import { checkArguments, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";

/** Which token positions count, and which do not. */
export interface PairsOptions {
  /**
   * Positions at the start of every window that are left out. The first one is an attention sink in many models: its state
   * is huge and says nothing of the text. Default 1.
   */
  readonly skip?: number;
  /** Token that begins a document: what comes before it does not foretell it, so it is never a label. Default: there is none. */
  readonly border?: number;
}

/** Positions whose next token is known, in order. */
export interface NextTokenPairs {
  /** Positions i in the flattened [n · t]. */
  readonly positions: Int32Array;
  /** The tokens at i + 1: what the states at i are to predict. */
  readonly next: Int32Array;
}

/** Schema of {@link PairsOptions}. */
export const pairsSchema = z.strictObject({
  skip: z.int().min(0).default(1),
  border: z.int().min(0).optional(),
});

/**
 * Aligns states with the tokens they predict: the state of position i belongs to the token at i + 1. The last position of a
 * window has no next token; nor has one whose next is padding, or the beginning of another document. So windows of t tokens
 * give t − 1 − skip pairs at most.
 *
 * Source: the alignment is not stated; current-token alignment would give a head that repeats its input [D].
 *
 * @param tokens `[n · t]` row by row.
 * @param t Positions of a window.
 * @param options.mask `[n · t]`: 0 where the position is padding.
 * @throws InputError on an option that is unknown or out of range.
 */
export function nextTokenPairs(
  tokens: ArrayLike<number>,
  t: number,
  options?: PairsOptions & { readonly mask?: ArrayLike<number> | undefined },
): NextTokenPairs {
  checkArguments("llm-exit-init.nextTokenPairs", { tokens: [tokens, "numbers or bigints"], t: [t, "a number"] });
  const { mask, ...rest } = options ?? {};
  const { skip, border } = parseOptions("llm-exit-init.nextTokenPairs", pairsSchema, rest);
  const real = (at: number) => mask === undefined || Number(mask[at]) !== 0;
  const positions: number[] = [];
  for (let at = 0; at + 1 < tokens.length; at++) {
    const column = at % t;
    if (column < skip || column === t - 1 || !real(at) || !real(at + 1) || Number(tokens[at + 1]) === border) continue;
    positions.push(at);
  }
  return { positions: Int32Array.from(positions), next: Int32Array.from(positions, (at) => Number(tokens[at + 1])) };
}
