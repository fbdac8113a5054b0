import { ops, type Tensor, tensor, type Value } from "@exitkit/core-gpu";

/**
 * How distances to class means become a confidence: p = softmax over the classes of −d̂, confidence = max p.
 *
 * - `normalised` (default): d̂_k = d_k / m_k, m_k the mean distance of all training samples to mean k. Source: the paper, step 3 [S].
 * - `raw`: d̂_k = d_k. Source: the post [S].
 * - `perSampleMaximum`: d̂_k = d_k / max_l d_l of the same sample. Source: the published code of 2022 [S].
 */
export type DistanceRule = "normalised" | "raw" | "perSampleMaximum";

/** All distance rules. */
export const DISTANCE_RULES: readonly DistanceRule[] = ["normalised", "raw", "perSampleMaximum"];

/**
 * Euclidean distances of features [n, d] to class means [k, d] → [n, k], as one matrix product with the means' norms computed
 * beforehand: d² = ‖x‖² − 2 x·c + ‖c‖², of features and means less the average of the means, m. Without that a common offset
 * of the features, however many digits it takes of float32, would be all that is left of a small difference of large squares.
 */
export function distancesTo(features: Value, means: Float32Array, classes: number): Value {
  const d = means.length / classes;
  const average = new Float32Array(d);
  for (let i = 0; i < d; i++) {
    let sum = 0;
    for (let k = 0; k < classes; k++) sum += means[k * d + i]!;
    average[i] = sum / classes;
  }
  const transposed = new Float32Array(means.length);
  const norms = new Float32Array(classes);
  for (let k = 0; k < classes; k++) {
    let norm = 0;
    for (let i = 0; i < d; i++) {
      const value = means[k * d + i]! - average[i]!;
      transposed[i * classes + k] = -2 * value;
      norm += value * value;
    }
    norms[k] = norm;
  }
  const centred = ops.sub(features, tensor("float32", [1, d], average));
  const products = ops.matmul(centred, tensor("float32", [d, classes], transposed));
  const own = ops.sumSquares(centred, { axes: [1], keepDimensions: true });
  const squared = ops.add(ops.add(products, tensor("float32", [1, classes], norms)), own);
  return ops.sqrt(ops.relu(squared));
}

/**
 * Scores whose softmax gives the rule's probabilities: −d̂, [n, k].
 *
 * @param distances Euclidean distances d, [n, k].
 * @param meanDistances m_k of the training samples, [k]; used by `normalised` only.
 */
export function scoresOf(rule: DistanceRule, distances: Value, meanDistances: Float32Array): Value {
  if (rule === "raw") return ops.neg(distances);
  if (rule === "normalised") {
    const inverse = tensor(
      "float32",
      [1, meanDistances.length],
      meanDistances.map((mean) => -1 / mean),
    );
    return ops.mul(distances, inverse);
  }
  return ops.neg(ops.div(distances, ops.maximum(ops.max(distances, { axes: [1], keepDimensions: true }), 1e-30)));
}

/** Recorded distances as scores, on the host: the same as {@link scoresOf} for one exit's n·k distances. */
export function scoresOnHost(
  rule: DistanceRule,
  distances: Float32Array,
  meanDistances: Float32Array,
): Tensor<"float32"> {
  const k = meanDistances.length;
  const scores = new Float32Array(distances.length);
  for (let row = 0; row < distances.length; row += k) {
    let largest = 1e-30;
    for (let c = 0; c < k; c++) largest = Math.max(largest, distances[row + c]!);
    for (let c = 0; c < k; c++) {
      const scale = rule === "raw" ? 1 : rule === "normalised" ? meanDistances[c]! : largest;
      scores[row + c] = -distances[row + c]! / scale;
    }
  }
  return tensor("float32", [distances.length / k, k], scores);
}
