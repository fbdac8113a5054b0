import { contingency } from "./contingency.ts";

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
  const counts = contingency(clusters, classes);
  const n = clusters.length;
  const ofClusters = counts.map((row) => row.reduce((sum, count) => sum + count, 0));
  const ofClasses = counts.map((_, label) => counts.reduce((sum, row) => sum + row[label]!, 0));
  const entropies = entropy(ofClusters, n) + entropy(ofClasses, n);
  if (entropies === 0) return 1;
  let information = 0;
  counts.forEach((row, cluster) => {
    row.forEach((count, label) => {
      if (count > 0) information += (count / n) * Math.log((count * n) / (ofClusters[cluster]! * ofClasses[label]!));
    });
  });
  return Math.max(0, (2 * information) / entropies);
}

function entropy(sizes: readonly number[], n: number): number {
  return sizes.reduce((sum, size) => (size === 0 ? sum : sum - (size / n) * Math.log(size / n)), 0);
}
