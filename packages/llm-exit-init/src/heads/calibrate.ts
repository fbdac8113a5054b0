import { type Device, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { fitWeights } from "../calibration/fit-weights.ts";
import type { TokenRows } from "../calibration/rows.ts";
import type { FinalNorm } from "../norms.ts";
import { type TokenHead, tokenHead } from "./token-head.ts";

/** Options of {@link calibrate}. */
export interface CalibrateHeadOptions {
  /** The model's final norm, for heads that read normed states. */
  readonly finalNorm?: FinalNorm;
  /** Ends the call between two passes over the rows: it rejects with the signal's reason, the device can be used on. */
  readonly signal?: AbortSignal;
}

const schema = z.strictObject({
  finalNorm: z.custom<FinalNorm>((value) => typeof value === "object" && value !== null).optional(),
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * The same head at another temperature: weight and bias over T, with T the one of least cross entropy on calibration text. Its answers
 * stay what they were.
 *
 * Source: the log posterior is the paper's logits over N₀/2 [D]. Differs: not divided by N₀/2, which measured worse: the features of a
 * language model's states are not independent, so that a sum over d of them counts the same evidence many times. One fitted number
 * allows for it.
 * @param rows Text that the statistics are not of.
 * @throws InputError on an unknown option, rows of another width or vocabulary, a missing final norm, or a head that is worse than
 * chance.
 */
export async function calibrate(
  device: Device,
  head: TokenHead,
  rows: TokenRows,
  options?: CalibrateHeadOptions,
): Promise<TokenHead> {
  const caller = "llm-exit-init.heads.calibrate";
  const { finalNorm, signal } = parseOptions(caller, schema, options);
  const { weights } = await fitWeights(caller, device, [head], rows, finalNorm, signal);
  return weighted(`${head.name}, calibrated`, [head], weights);
}

/** Σ w_r · head_r of heads of one shape and norm. */
export function weighted(name: string, heads: readonly TokenHead[], weights: readonly number[]): TokenHead {
  const [first] = heads as [TokenHead];
  const sum = (take: (head: TokenHead) => Float32Array) => {
    const result = new Float64Array(take(first).length);
    heads.forEach((head, r) => {
      const own = take(head);
      for (let at = 0; at < result.length; at++) result[at]! += weights[r]! * own[at]!;
    });
    return result;
  };
  return tokenHead(
    name,
    first.norm,
    sum(({ weight }) => weight.data),
    sum(({ bias }) => bias.data),
    first.hidden,
  );
}
