import type { ClassStatistics, ExitStatistics } from "../statistics/statistics.ts";

/** Class means of one exit and the training samples' typical distances to them. */
export interface ClassMeans {
  /** c_k = (1/|S_k|) Σ_{i∈S_k} x_i, row-major [k, d]. */
  readonly means: Float32Array;
  /** m_k, [k]: what the `normalised` rule divides by. */
  readonly distances: Float32Array;
  /** E‖x‖² over the training samples, for `updateClasses`; null for exits saved before it was kept. */
  readonly meanSquare: number | null;
}

/**
 * Class means, and with them the root mean square distance of all training samples to each mean,
 * √(E‖x‖² − 2 c_k·E[x] + ‖c_k‖²), which follows from the same sums: no second pass.
 *
 * Source: E²CM (IJCNN 2022), class means and distance normalisation [S].
 * Differs: m_k is the root of the mean square, not the mean, of the distances, because the mean needs the class means first and so
 * a second pass; `fit` makes that pass when it is given batches that can be read twice.
 */
export function classMeans(statistics: ClassStatistics, exit: ExitStatistics): ClassMeans {
  const { classes: k, counts } = statistics;
  const { d, sums, squares } = exit;
  const n = counts.reduce((total, count) => total + count, 0);
  const means = sums.map((sum, index) => sum / counts[Math.floor(index / d)]!);
  const average = new Float64Array(d);
  for (let c = 0; c < k; c++) for (let i = 0; i < d; i++) average[i]! += sums[c * d + i]! / n;
  const distances = rootMeanSquareDistances(means, average, squares / n);
  return { means: Float32Array.from(means), distances: Float32Array.from(distances), meanSquare: squares / n };
}

/**
 * √(E‖x‖² − 2 c_k·E[x] + ‖c_k‖²) of every class, [k].
 *
 * @param means Row-major [k, d].
 * @param average E[x], [d].
 */
export function rootMeanSquareDistances(
  means: Float64Array | Float32Array,
  average: Float64Array,
  meanSquare: number,
): Float64Array {
  const d = average.length;
  // About the average: E‖x − E[x]‖² + ‖c_k − E[x]‖².
  let around = meanSquare;
  for (let i = 0; i < d; i++) around -= average[i]! * average[i]!;
  return Float64Array.from({ length: means.length / d }, (_, c) => {
    // What is left of equal samples is rounding.
    let squared = around > 1e-13 * meanSquare ? around : 0;
    for (let i = 0; i < d; i++) squared += (means[c * d + i]! - average[i]!) ** 2;
    return Math.sqrt(Math.max(squared, Number.MIN_VALUE));
  });
}
