import { type Generator, InputError } from "@exitkit/core-gpu";

/** Which samples an epoch trains on, and how much each counts. */
export interface EpochDraw {
  /** Rows, ascending. */
  readonly rows: Int32Array;
  /** Of each of them: 1, or 1 ÷ (1 − probability) where the row might have been skipped. */
  readonly weights: Float32Array;
}

/**
 * Skips each easy sample with the same probability s and lets those that stay count 1 ÷ (1 − s), so that the sum of all gradients is
 * what it would be without skipping, in expectation: `E Σ weightᵢ·gᵢ = Σ gᵢ`.
 *
 * @param easy `[n]`: 1 where a sample may be skipped.
 * @param probability s in [0, 1).
 * @throws InputError on another probability.
 * Source: Qin et al., "InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning", ICLR 2024.
 */
export function drawEpoch(easy: Uint8Array, probability: number, random: Generator): EpochDraw {
  if (!(probability >= 0 && probability < 1)) {
    throw new InputError("eeprune.drawEpoch", "the probability must be in [0, 1)", String(probability));
  }
  const rows = new Int32Array(easy.length);
  const weights = new Float32Array(easy.length);
  let count = 0;
  for (let i = 0; i < easy.length; i++) {
    if (easy[i] === 1 && random.uniform() < probability) continue;
    rows[count] = i;
    weights[count++] = easy[i] === 1 ? 1 / (1 - probability) : 1;
  }
  return { rows: rows.slice(0, count), weights: weights.slice(0, count) };
}
