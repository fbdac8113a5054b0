import { InputError } from "@exitkit/core-gpu";

/**
 * How often each cluster meets each class: `counts[cluster][class]`.
 *
 * @param clusters [n], whole numbers ≥ 0.
 * @param classes [n], whole numbers ≥ 0.
 * @returns [k, k], k one more than the largest number of either.
 * @throws InputError on different lengths, no samples, or a number that is not whole or below 0.
 */
export function contingency(clusters: ArrayLike<number>, classes: ArrayLike<number>): readonly Float64Array[] {
  const caller = "bench.contingency";
  const n = clusters.length;
  if (n === 0 || classes.length !== n) {
    throw new InputError(caller, "a class for each of one or more clustered samples", `${n} and ${classes.length}`);
  }
  let k = 0;
  for (const list of [clusters, classes]) {
    for (let at = 0; at < n; at++) {
      if (!(Number.isInteger(list[at]) && list[at]! >= 0)) {
        throw new InputError(caller, "clusters and classes must be whole numbers ≥ 0", `${list[at]} at sample ${at}`);
      }
      k = Math.max(k, list[at]! + 1);
    }
  }
  const counts = Array.from({ length: k }, () => new Float64Array(k));
  for (let at = 0; at < n; at++) counts[clusters[at]!]![classes[at]!]! += 1;
  return counts;
}
