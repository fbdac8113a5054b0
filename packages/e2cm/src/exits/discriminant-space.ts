/**
 * The space that the scores of a shared-covariance exit span, in which the covariance within classes is the identity:
 * y = scores·A + a, and the Mahalanobis distance of a sample to class k, as far as the classes' means span it, is ‖y − c_k‖.
 */
export interface DiscriminantSpace {
  /** A, row-major [k, k − 1]; a column of zeros where the means span fewer dimensions. */
  readonly axes: Float32Array;
  /** a, [k − 1]: puts the average of the class means at the origin. */
  readonly shift: Float32Array;
  /** c_k, row-major [k, k − 1]. */
  readonly centres: Float32Array;
}

/**
 * With M the class means less their average μ, [k, d], and W = Σ_λ⁻¹ Mᵀ the exit's weights, G = M W = M Σ_λ⁻¹ Mᵀ. The scores less
 * those of μ are z = Wᵀ(x − μ), and zᵀ G⁺ z is the squared Mahalanobis length of the projection of x − μ on the span of the
 * means. M's rows sum to 0, so k − 1 of them span as much: with G' = L Lᵀ of the first k − 1, y = L⁻¹ z'.
 *
 * No more than k² numbers are kept and k² multiply–accumulates spent; the whole Mahalanobis distance would need d².
 *
 * Source: Fisher's linear discriminants; Mahalanobis distance to the nearest class mean as a novelty score, Lee, Lee, Lee, Shin,
 * "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks", NeurIPS 2018 [D].
 * Differs: only the part of the distance that lies in the span of the class means; the rest of x is not seen.
 *
 * @param weights W, [d, k].
 * @param bias [k].
 * @param means [k, d].
 * @param centre μ, [d].
 */
export function discriminantSpace(
  weights: Float64Array,
  bias: Float64Array,
  means: Float64Array,
  centre: Float64Array,
): DiscriminantSpace {
  const k = bias.length;
  const d = centre.length;
  const r = k - 1;
  const origin = Float64Array.from(bias);
  for (let i = 0; i < d; i++) for (let c = 0; c < k; c++) origin[c]! += centre[i]! * weights[i * k + c]!;
  const gram = new Float64Array(k * k);
  for (let c = 0; c < k; c++) {
    for (let i = 0; i < d; i++) {
      const part = means[c * d + i]! - centre[i]!;
      for (let other = 0; other < k; other++) gram[c * k + other]! += part * weights[i * k + other]!;
    }
  }
  const inverse = inverseFactor(gram, k, r);
  const axes = new Float32Array(k * r);
  const shift = new Float32Array(r);
  const centres = new Float32Array(k * r);
  for (let row = 0; row < r; row++) {
    let back = 0;
    for (let i = 0; i <= row; i++) {
      axes[i * r + row] = inverse[row * r + i]!;
      back += inverse[row * r + i]! * origin[i]!;
    }
    shift[row] = -back;
    for (let c = 0; c < k; c++) {
      let sum = 0;
      for (let i = 0; i <= row; i++) sum += inverse[row * r + i]! * gram[c * k + i]!;
      centres[c * r + row] = sum;
    }
  }
  return { axes, shift, centres };
}

/** A pivot smaller than this part of its diagonal is rounding: the mean lies in the span of those before it. */
const SMALLEST_PIVOT = 1e-9;

/** L⁻¹ of the upper left [r, r] of a symmetric positive semidefinite matrix [k, k] = L Lᵀ; a row of zeros for each dependent one. */
function inverseFactor(matrix: Float64Array, k: number, r: number): Float64Array {
  const factor = new Float64Array(r * r);
  const inverse = new Float64Array(r * r);
  for (let i = 0; i < r; i++) {
    for (let j = 0; j <= i; j++) {
      let rest = matrix[i * k + j]!;
      for (let p = 0; p < j; p++) rest -= factor[i * r + p]! * factor[j * r + p]!;
      if (i !== j) factor[i * r + j] = factor[j * r + j] === 0 ? 0 : rest / factor[j * r + j]!;
      else factor[i * r + i] = rest > SMALLEST_PIVOT * matrix[i * k + i]! ? Math.sqrt(rest) : 0;
    }
    const pivot = factor[i * r + i]!;
    if (pivot === 0) continue;
    inverse[i * r + i] = 1 / pivot;
    for (let j = 0; j < i; j++) {
      let sum = 0;
      for (let p = j; p < i; p++) sum += factor[i * r + p]! * inverse[p * r + j]!;
      inverse[i * r + j] = -sum / pivot;
    }
  }
  return inverse;
}
