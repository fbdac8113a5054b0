import { type Device, InputError, ops } from "@exitkit/core-gpu";
import { openHeads } from "../calibration/head-runner.ts";
import type { TokenRows } from "../calibration/rows.ts";
import type { FinalNorm } from "../norms.ts";
import { positionsOf } from "../statistics/estimates.ts";
import type { TokenStatistics } from "../statistics/token-statistics.ts";
import { checkHead, type TokenHead, tokenHead } from "./token-head.ts";

/**
 * A head whose mean predicted probabilities are those of the text: `bias_v += ln P_v − ln p̄_v`, with P_v the frequency of token v in the
 * statistics, smoothed by a half, and p̄_v the mean over the rows of what the head gives it, never taken below half a position's.
 */
export async function priorMatch(
  caller: string,
  device: Device,
  head: TokenHead,
  statistics: TokenStatistics,
  rows: TokenRows,
  finalNorm: FinalNorm | undefined,
): Promise<TokenHead> {
  const n = positionsOf(caller, statistics);
  const { v } = checkHead(caller, head);
  if (v !== statistics.vocabulary) {
    throw new InputError(caller, `the statistics must be of ${v} tokens, as the head`, `${statistics.vocabulary}`);
  }
  const runner = await openHeads(caller, device, [head], finalNorm, {}, ({ logits }) => ({
    predicted: ops.sum(ops.softmax(logits[0]!, { axis: 1 }), { axes: 0 }),
  }));
  const predicted = new Float64Array(v);
  try {
    await runner.run(rows, {}, (outputs) => {
      (outputs.predicted!.data as Float32Array).forEach((value, token) => {
        predicted[token]! += value;
      });
    });
  } finally {
    await runner.release();
  }
  const m = rows.next.length;
  const bias = Float64Array.from(head.bias.data, (value, token) => {
    const frequency = (statistics.counts[token]! + 0.5) / (n + v / 2);
    return value + Math.log(frequency) - Math.log((predicted[token]! + 0.5) / (m + v / 2));
  });
  return tokenHead(`${head.name}, prior matched`, head.norm, head.weight.data, bias, head.hidden);
}
