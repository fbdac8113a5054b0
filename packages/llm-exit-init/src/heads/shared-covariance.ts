import { type Device, InputError, parseOptions, tensor } from "@exitkit/core-gpu";
import { z } from "zod";
import { inverse } from "../linear-algebra/inverse.ts";
import { matmul } from "../linear-algebra/matmul.ts";
import { overallMean, positionsOf, withinClassCovariance } from "../statistics/estimates.ts";
import type { TokenStatistics } from "../statistics/token-statistics.ts";
import { type TokenHead, tokenHead } from "./token-head.ts";

/** Options of {@link sharedCovariance}. */
export interface SharedCovarianceOptions {
  /** λ in [0, 1]: how far the covariance is drawn to λ·(its mean variance)·I. Default 0.01. */
  readonly shrinkage?: number;
  /** κ ≥ 0: every class mean is drawn to the mean of all states as by κ more states there. Default 5. */
  readonly pseudoCounts?: number;
  /** Whether ln P_v, smoothed by a half, is in the bias; without it the logits are log likelihood ratios. Default true. */
  readonly prior?: boolean;
}

const caller = "llm-exit-init.heads.sharedCovariance";
const schema = z.strictObject({
  shrinkage: z.number().min(0).max(1).default(0.01),
  pseudoCounts: z.number().min(0).default(5),
  prior: z.boolean().default(true),
});

/**
 * The Bayes rule for classes that are Gaussian with one shared covariance. With M̃_v = (Σ_{i∈S_v} x_i + κ·μ) ÷ (|S_v| + κ), μ the mean
 * of all states, Σ the covariance within the classes and Σ_λ = (1 − λ)·Σ + λ·(tr Σ ÷ d)·I:
 * `weight_v = Σ_λ⁻¹ (M̃_v − μ)`, `bias_v = ln P_v − ½·(M̃_v + μ)·weight_v`.
 * Without ln P_v the logit is ln p(x | v) − ln p(x) with p(x) as if all tokens had the mean μ. A token that never came has the ratio 0.
 *
 * Source: the class-aware head's own argument. Differs: the noise is estimated as a whole, not taken as white; small classes are
 * shrunk, which the paper does not do.
 * @throws InputError on an option that is unknown or out of range, statistics without Gram matrix, or a covariance that cannot
 * be inverted.
 */
export async function sharedCovariance(
  device: Device,
  statistics: TokenStatistics,
  options?: SharedCovarianceOptions,
): Promise<TokenHead> {
  const { shrinkage, pseudoCounts, prior } = parseOptions(caller, schema, options);
  const n = positionsOf(caller, statistics);
  const { counts, sums, vocabulary: v, features: d, norm } = statistics;
  const covariance = await withinClassCovariance(caller, device, statistics);
  const inverted = inverseOf(covariance, d, shrinkage, n);
  const mean = overallMean(statistics, n);
  const shift = sums.map((sum, at) => {
    const token = Math.floor(at / d);
    const weight = counts[token]! + pseudoCounts;
    return weight === 0 ? 0 : (sum - counts[token]! * mean[at % d]!) / weight;
  });
  const weight = await matmul(device, tensor("float64", [v, d], shift), tensor("float64", [d, d], inverted));
  const bias = Float64Array.from(counts, (count, token) => {
    let middle = 0;
    for (let i = 0; i < d; i++) {
      middle += (mean[i]! + shift[token * d + i]! / 2) * weight.data[token * d + i]!;
    }
    return (prior ? Math.log((count + 0.5) / (n + v / 2)) : 0) - middle;
  });
  return tokenHead("shared covariance", norm, weight.data, bias, statistics.hidden);
}

function inverseOf(covariance: Float64Array, d: number, shrinkage: number, n: number): Float64Array {
  let trace = 0;
  for (let i = 0; i < d; i++) trace += covariance[i * d + i]!;
  const shrunk = covariance.map((value, at) => {
    const own = at % (d + 1) === 0 ? (shrinkage * trace) / d : 0;
    return (1 - shrinkage) * value + own;
  });
  try {
    return inverse(shrunk, d);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const actual = `one of ${n} positions and ${d} features with shrinkage ${shrinkage}`;
    throw new InputError(caller, "the covariance must be invertible", actual, "Use more text or shrinkage.", error);
  }
}
