import { contingency } from "./contingency.ts";

/**
 * Adjusted Rand index of clusters and classes: how many pairs of samples both put together or both keep apart, 0 for
 * what chance gives and 1 for the same partition.
 *
 * `(Σ_ij C(n_ij, 2) − e) ÷ ((a + b) ÷ 2 − e)` with `a = Σ_i C(n_i., 2)`, `b = Σ_j C(n_.j, 2)` and `e = a·b ÷ C(n, 2)`.
 *
 * @param clusters [n]
 * @param classes [n]
 * @throws InputError as `contingency` does.
 * Source: Hubert and Arabie, "Comparing partitions", 1985; scikit-learn's `adjusted_rand_score`.
 */
export function adjustedRandIndex(clusters: ArrayLike<number>, classes: ArrayLike<number>): number {
  const counts = contingency(clusters, classes);
  const pairs = (size: number) => (size * (size - 1)) / 2;
  const sumOf = (sizes: Iterable<number>) => [...sizes].reduce((sum, size) => sum + pairs(size), 0);
  const together = counts.reduce((sum, row) => sum + sumOf(row), 0);
  const a = sumOf(counts.map((row) => row.reduce((sum, count) => sum + count, 0)));
  const b = sumOf(counts.map((_, label) => counts.reduce((sum, row) => sum + row[label]!, 0)));
  const all = pairs(clusters.length);
  const expected = all === 0 ? 0 : (a * b) / all;
  const most = (a + b) / 2;
  // Both partitions trivial in the same way: one group, or nothing but groups of one.
  return most === expected ? 1 : (together - expected) / (most - expected);
}
