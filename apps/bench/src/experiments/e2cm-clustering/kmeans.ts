import type { Generator } from "@exitkit/core-gpu";
import { kmeans } from "ml-kmeans";

/** What k-means found. */
export interface Clusters {
  /** [k, d], row by row. */
  readonly centres: Float32Array;
  /** [n]: the cluster of every row. */
  readonly labels: Int32Array;
  /** Mean squared distance of a row to its centre. */
  readonly inertia: number;
}

const MOST_ITERATIONS = 300;

/**
 * k-means from several starts (k-means++), of which the one with the least inertia is kept. The starts run on a random
 * sample of the rows; the best one goes on with all rows.
 *
 * @param rows [n, d], row by row.
 * @param options.sample Rows the starts use; n or more: all of them.
 * Differs: scikit-learn, as in IDEC, runs every start on all rows. A start on 60,000 codes takes seconds, so the best start is
 * found on the sample only; with all rows it may end in another, worse local optimum than the best of as many starts on all.
 */
export function bestKmeans(
  rows: Float32Array,
  d: number,
  k: number,
  options: { readonly starts: number; readonly sample: number; readonly random: Generator },
): Clusters {
  const { starts, sample, random } = options;
  const n = rows.length / d;
  const all = Array.from({ length: n }, (_, row) => Array.from(rows.subarray(row * d, (row + 1) * d)));
  const some = sample >= n ? all : Array.from(random.permutation(n).subarray(0, sample), (row) => all[row]!);
  let best: { readonly centres: number[][]; readonly inertia: number } | null = null;
  for (let start = 0; start < starts; start++) {
    const { centroids, clusters } = kmeans(some, k, { seed: random.integer(2 ** 31), maxIterations: MOST_ITERATIONS });
    const inertia = meanSquare(some, centroids, clusters);
    if (best === null || inertia < best.inertia) best = { centres: centroids, inertia };
  }
  const { centroids, clusters } = kmeans(all, k, { initialization: best!.centres, maxIterations: MOST_ITERATIONS });
  return {
    centres: Float32Array.from(centroids.flat()),
    labels: Int32Array.from(clusters),
    inertia: meanSquare(all, centroids, clusters),
  };
}

function meanSquare(rows: readonly number[][], centres: readonly number[][], clusters: readonly number[]): number {
  let sum = 0;
  rows.forEach((row, at) => {
    const centre = centres[clusters[at]!]!;
    for (let i = 0; i < row.length; i++) sum += (row[i]! - centre[i]!) ** 2;
  });
  return sum / rows.length;
}
