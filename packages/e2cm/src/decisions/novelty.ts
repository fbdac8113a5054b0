import { ops, type Tensor, tensor, type Value } from "@exitkit/core-gpu";
import type { OutputExit } from "../exits/exits.ts";
import { distancesTo, scoresOf } from "./distances.ts";

/**
 * How far a sample is from all classes, [n], from what its exit scored, [n, k]: the smallest of the distances to the class means.
 *
 * - Euclidean: min_k d_k / m_k of the raw distances, m_k the training samples' typical distance to mean k.
 * - Shared covariance: min_k ‖y − c_k‖, the Mahalanobis distance within the span of the means; see `DiscriminantSpace`.
 *
 * Source: the thesis' first open question (inputs of no known class, Görmez, UIC 2024 [S]); the scores [D].
 */
export function noveltyOf(scores: Value, exit: OutputExit): Value {
  const smallest = (distances: Value) => ops.min(distances, { axes: [1], keepDimensions: false });
  if (exit.metric === "euclidean") return smallest(ops.neg(scoresOf("normalised", scores, exit.distances)));
  const { axes, shift, centres } = exit.space!;
  const k = exit.bias.length;
  const r = k - 1;
  const y = ops.add(ops.matmul(scores, tensor("float32", [k, r], axes)), tensor("float32", [1, r], shift));
  return smallest(distancesTo(y, centres, k));
}

/** {@link noveltyOf} on the host, for recorded scores of n·k numbers: [n]. */
export function noveltyOnHost(scores: Float32Array, exit: OutputExit): Float32Array {
  if (exit.metric === "euclidean") {
    const k = exit.distances.length;
    return Float32Array.from({ length: scores.length / k }, (_, row) => {
      let least = Number.POSITIVE_INFINITY;
      for (let c = 0; c < k; c++) least = Math.min(least, scores[row * k + c]! / exit.distances[c]!);
      return least;
    });
  }
  const { axes, shift, centres } = exit.space!;
  const k = exit.bias.length;
  const r = k - 1;
  const y = new Float64Array(r);
  return Float32Array.from({ length: scores.length / k }, (_, row) => {
    y.set(shift);
    for (let c = 0; c < k; c++) for (let i = 0; i < r; i++) y[i]! += scores[row * k + c]! * axes[c * r + i]!;
    let least = Number.POSITIVE_INFINITY;
    for (let c = 0; c < k; c++) {
      let squared = 0;
      for (let i = 0; i < r; i++) squared += (y[i]! - centres[c * r + i]!) ** 2;
      least = Math.min(least, squared);
    }
    return Math.sqrt(least);
  });
}

/** What the class means of the network's outputs score for recorded outputs of n·o numbers: distances or log posteriors, [n, k]. */
export function outputScoresOnHost(outputs: Float32Array, exit: OutputExit): Tensor<"float32"> {
  const k = exit.metric === "euclidean" ? exit.distances.length : exit.bias.length;
  const matrix = exit.metric === "euclidean" ? exit.means : exit.weights;
  const o = matrix.length / k;
  const n = outputs.length / o;
  const scores = new Float32Array(n * k);
  for (let row = 0; row < n; row++) {
    for (let c = 0; c < k; c++) {
      let sum = exit.metric === "euclidean" ? 0 : exit.bias[c]!;
      for (let i = 0; i < o; i++) {
        const x = outputs[row * o + i]!;
        sum += exit.metric === "euclidean" ? (x - matrix[c * o + i]!) ** 2 : x * matrix[i * k + c]!;
      }
      scores[row * k + c] = exit.metric === "euclidean" ? Math.sqrt(sum) : sum;
    }
  }
  return tensor("float32", [n, k], scores);
}
