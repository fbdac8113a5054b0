import { InputError, parseOptions, rows, type Tensor, tensor, until } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkStates, plainStates, type StatesBatch, type StatesBatches } from "../states.ts";
import { nextTokenPairs, type PairsOptions, pairsSchema } from "../tokens/pairs.ts";

/** States in memory with the tokens they are to predict: calibration text. */
export interface TokenRows {
  /** float32 `[m, d]`, as the tap gave them. */
  readonly states: Tensor<"float32">;
  /** `[m]`: the next token of each. */
  readonly next: Int32Array;
}

/** Options of {@link takeRows}. */
export interface TakeRowsOptions extends PairsOptions {
  /** v */
  readonly vocabulary: number;
  /** Stop after so many. Default: all there are. */
  readonly limit?: number;
  /** Ends the call between two batches: it rejects with the signal's reason, streams are closed. */
  readonly signal?: AbortSignal;
}

const caller = "llm-exit-init.takeRows";
const schema = pairsSchema.extend({
  vocabulary: z.int().min(2),
  limit: z.int().min(1).optional(),
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * Collects states and their next tokens, aligned as `accumulateTokens` does it; m·d numbers of memory.
 *
 * @throws InputError on an option that is unknown or out of range, a batch as `accumulateTokens` refuses it, no pair at all, or
 * fewer than `limit`.
 */
export async function takeRows(batches: StatesBatches, options: TakeRowsOptions): Promise<TokenRows> {
  const { vocabulary, limit = Number.POSITIVE_INFINITY, skip, border, signal } = parseOptions(caller, schema, options);
  const parts: TokenRows[] = [];
  let width: number | undefined;
  let [m, index] = [0, 0];
  for await (const given of until(signal, batches)) {
    const batch = plainStates(given);
    const { d } = checkStates(caller, batch, { vocabulary, features: width, last: null });
    width = d;
    const part = alignedRows(batch, batch.states, { skip, ...(border === undefined ? {} : { border }) });
    if (!part.states.data.every(Number.isFinite)) {
      const fix = "Check the model's weights and the text of that batch.";
      throw new InputError(caller, "states must be finite", `NaN or infinity in batch ${index}`, fix);
    }
    index++;
    const taken = Math.min(part.next.length, limit - m);
    parts.push({ states: rows(part.states, 0, taken), next: part.next.subarray(0, taken) });
    m += taken;
    if (m >= limit) break;
  }
  if (m === 0 || (m < limit && Number.isFinite(limit))) {
    const wanted = Number.isFinite(limit) ? `${limit}` : "at least one";
    throw new InputError(caller, `text must have ${wanted} tokens with a next one`, `${m}`, "Pass more text.");
  }
  const states = tensor("float32", [m, width!]);
  const next = new Int32Array(m);
  let at = 0;
  for (const part of parts) {
    states.data.set(part.states.data, at * width!);
    next.set(part.next, at);
    at += part.next.length;
  }
  return { states, next };
}

/** The rows of a batch's states (or of its last ones) that have a next token, perhaps none. */
export function alignedRows(batch: StatesBatch, states: Tensor<"float32">, options: PairsOptions): TokenRows {
  const [, t, d] = states.shape as [number, number, number];
  const { positions, next } = nextTokenPairs(batch.tokens, t, { ...options, mask: batch.mask });
  const taken = tensor("float32", [next.length, d]);
  positions.forEach((position, row) => {
    taken.data.set(states.data.subarray(position * d, (position + 1) * d), row * d);
  });
  return { states: taken, next };
}

/** Rows in pieces of at most `size`. */
export function* chunks(given: TokenRows, size: number): Generator<TokenRows> {
  const { states, next } = given;
  for (let from = 0; from < next.length; from += size) {
    const to = Math.min(next.length, from + size);
    yield { states: rows(states, from, to), next: next.subarray(from, to) };
  }
}
