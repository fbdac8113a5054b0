import { linearSumAssignment } from "linear-sum-assignment";
import { contingency } from "./contingency.ts";

/**
 * The class each cluster stands for: the one-to-one assignment under which most samples are right.
 *
 * @param clusters [n]
 * @param classes [n]
 * @returns [k]: the class of every cluster.
 * @throws InputError as `contingency` does.
 * Source: the usual clustering accuracy, `max over one-to-one m of (1/n) Σ [m(cluster_i) = class_i]`; assignment by
 * Jonker and Volgenant.
 */
export function hungarianMapping(clusters: ArrayLike<number>, classes: ArrayLike<number>): Int32Array {
  const counts = contingency(clusters, classes);
  const { rowAssignments } = linearSumAssignment([...counts], { maximaze: true });
  return Int32Array.from(rowAssignments);
}

/** Fraction of the samples whose cluster stands for their class. */
export function mappedAccuracy(mapping: Int32Array, clusters: ArrayLike<number>, classes: ArrayLike<number>): number {
  let right = 0;
  for (let at = 0; at < clusters.length; at++) if (mapping[clusters[at]!] === classes[at]) right++;
  return right / clusters.length;
}
