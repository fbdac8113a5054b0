import { checkArguments } from "@exitkit/core-gpu";

/** Variance that is assumed before the first loss: most samples lose nothing. */
const PRIOR_VARIANCE = 0.05;

/**
 * Whether losses show at level δ that their mean is below `mean`: a bet against "the mean is `mean` or more".
 *
 * Wealth K_0 = 1, K_t = K_{t−1}·(1 − λ_t·(ℓ_t − mean)), with λ_t = min(√(2 ln(1/δ) / (n·v_{t−1})), 0.75/(1 − mean)) from the
 * variance v of the losses before. If the mean is `mean` or more the wealth is a supermartingale that stays positive, so
 * it ever reaches 1/δ with probability δ at most (Ville); that it did is the evidence.
 *
 * @param losses `[n]`, at most 1 each, whole or not, independent, in random order.
 * Source: I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting", 2020 (predictable plug-in
 * bets); as a bound for risk control in Angelopoulos et al. 2021. [D: restated for losses down to −1]
 * Differs: v starts at 0.05 rather than 1/4, as most samples lose nothing.
 */
export function meanIsBelow(losses: ArrayLike<number>, mean: number, delta: number): boolean {
  checkArguments("early-exit.meanIsBelow", {
    losses: [losses, "numbers or bigints"],
    mean: [mean, "a number"],
    delta: [delta, "a number"],
  });
  const n = losses.length;
  const enough = Math.log(1 / delta);
  const most = 0.75 / (1 - mean);
  let wealth = 0;
  let sum = 0;
  let squares = PRIOR_VARIANCE;
  for (let t = 0; t < n; t++) {
    const bet = Math.min(Math.sqrt((2 * enough * (t + 1)) / (n * squares)), most);
    wealth += Math.log1p(-bet * (losses[t]! - mean));
    if (wealth >= enough) return true;
    sum += losses[t]!;
    squares += (losses[t]! - sum / (t + 2)) ** 2;
  }
  return false;
}
