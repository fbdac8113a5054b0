import { contingency } from "./contingency.ts";

/** How often each cluster meets each class, and how large each cluster and each class is. */
function countsOf(clusters: ArrayLike<number>, classes: ArrayLike<number>) {
  const counts = contingency(clusters, classes);
  const sum = (sizes: Iterable<number>) => [...sizes].reduce((all, size) => all + size, 0);
  const ofClasses = counts.map((_, label) => sum(counts.map((row) => row[label]!)));
  return { counts, ofClusters: counts.map(sum), ofClasses };
}

/**
 * Normalised mutual information of clusters and classes, `I(U; V) ÷ ((H(U) + H(V)) ÷ 2)`, in [0, 1]; 1 where both have a
 * single group.
 *
 * @param clusters [n]
 * @param classes [n]
 * @throws InputError as `contingency` does.
 * Source: scikit-learn's `normalized_mutual_info_score` (arithmetic mean).
 */
export function mutualInformation(clusters: ArrayLike<number>, classes: ArrayLike<number>): number {
  const { counts, ofClusters, ofClasses } = countsOf(clusters, classes);
  const n = clusters.length;
  const entropy = (sizes: readonly number[]) =>
    sizes.reduce((sum, size) => (size === 0 ? sum : sum - (size / n) * Math.log(size / n)), 0);
  const entropies = entropy(ofClusters) + entropy(ofClasses);
  if (entropies === 0) return 1;
  let information = 0;
  counts.forEach((row, cluster) => {
    row.forEach((count, label) => {
      if (count > 0) information += (count / n) * Math.log((count * n) / (ofClusters[cluster]! * ofClasses[label]!));
    });
  });
  return Math.max(0, (2 * information) / entropies);
}

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
  const { counts, ofClusters, ofClasses } = countsOf(clusters, classes);
  const pairs = (size: number) => (size * (size - 1)) / 2;
  const sumOf = (sizes: Iterable<number>) => [...sizes].reduce((sum, size) => sum + pairs(size), 0);
  const together = counts.reduce((sum, row) => sum + sumOf(row), 0);
  const [a, b] = [sumOf(ofClusters), sumOf(ofClasses)];
  const all = pairs(clusters.length);
  const expected = all === 0 ? 0 : (a * b) / all;
  const most = (a + b) / 2;
  // Both partitions trivial in the same way: one group, or nothing but groups of one.
  return most === expected ? 1 : (together - expected) / (most - expected);
}
