import { InputError } from "@exitkit/core-gpu";
import { choleskyFactor, choleskySolve } from "./cholesky.ts";

/** Sums over pixels of one exit's features. Float64 throughout; shards' are added up. */
export interface PixelSums {
  /** d features a pixel. */
  readonly d: number;
  /** Σ_{i∈S_k} x_i, row-major [k, d]. */
  readonly sums: Float64Array;
  /** Σ_i x_i x_iᵀ, row-major [d, d]. */
  readonly gram: Float64Array;
}

/** Scores x·W + b, log posteriors up to a constant of the pixel. */
export interface LinearRule {
  /** Row-major [k, d]. */
  readonly weights: Float64Array;
  /** [k]. */
  readonly bias: Float64Array;
}

/**
 * The Bayes rule for classes that are Gaussian with their own means and one shared covariance: with means μ_k, their mean μ, priors
 * P_k = n_k/n and the within-class correlation R of the standardised features, R_λ = (1 − λ)·R + λ·I, w_k = Σ_λ⁻¹(μ_k − μ) and
 * b_k = ln P_k − ½ (μ_k + μ)·w_k. A class without pixels has the bias −∞.
 */
export function sharedCovariance(
  caller: string,
  counts: Float64Array,
  { d, sums, gram }: PixelSums,
  shrinkage: number,
): LinearRule {
  const k = counts.length;
  const n = counts.reduce((sum, count) => sum + count, 0);
  const present = Array.from(counts.keys()).filter((c) => counts[c]! > 0);
  const means = sums.map((sum, at) => (sum === 0 ? 0 : sum / counts[Math.floor(at / d)]!));
  const centre = new Float64Array(d);
  for (const c of present) for (let i = 0; i < d; i++) centre[i]! += means[c * d + i]! / present.length;
  const correlation = new Float64Array(d * d);
  for (let i = 0; i < d; i++) {
    for (let j = 0; j <= i; j++) {
      let value = gram[i * d + j]!;
      for (const c of present) value -= counts[c]! * means[c * d + i]! * means[c * d + j]!;
      correlation[i * d + j] = value / n;
    }
  }
  // A feature that does not vary says nothing: the deviation 1 and no correlation.
  const deviation = Float64Array.from({ length: d }, (_, i) => {
    const variance = correlation[i * d + i]!;
    return variance > 1e-9 * (gram[i * d + i]! / n) && variance > 1e-20 ? Math.sqrt(variance) : 0;
  });
  for (let i = 0; i < d; i++) {
    for (let j = 0; j < i; j++) {
      const scale = deviation[i]! * deviation[j]!;
      correlation[i * d + j] = scale === 0 ? 0 : ((1 - shrinkage) * correlation[i * d + j]!) / scale;
    }
    correlation[i * d + i] = 1;
  }
  const factor = choleskyFactor(correlation, d);
  if (factor === null) {
    const actual = `one of ${n} pixels with shrinkage ${shrinkage}`;
    throw new InputError(caller, "the covariance must be invertible", actual, "Use a larger shrinkage.");
  }
  const weights = new Float64Array(k * d);
  const bias = new Float64Array(k).fill(Number.NEGATIVE_INFINITY);
  for (const c of present) {
    const direction = Float64Array.from(centre, (mean, i) => (means[c * d + i]! - mean) / (deviation[i]! || 1));
    choleskySolve(factor, d, direction);
    bias[c] = Math.log(counts[c]! / n);
    for (let i = 0; i < d; i++) {
      const weight = direction[i]! / (deviation[i]! || 1);
      weights[c * d + i] = weight;
      bias[c]! -= 0.5 * (means[c * d + i]! + centre[i]!) * weight;
    }
  }
  return { weights, bias };
}
