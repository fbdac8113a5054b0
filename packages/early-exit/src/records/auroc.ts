import { InputError } from "@exitkit/core-gpu";

/**
 * Area under the receiver operating characteristic: the probability that a score of the second kind is larger than one of the
 * first, ties counted half, P(u > k) + ½ P(u = k). 1: the scores tell the two apart; 0.5: they say nothing.
 *
 * The Mann–Whitney statistic divided by n_u·n_k, from two sorts.
 *
 * @param known Scores of samples that should score low, e.g. the novelty of known classes, [n_k]. Not NaN.
 * @param unknown Scores of samples that should score high, [n_u]. Not NaN.
 * @returns In [0, 1].
 * @throws InputError when either is empty or holds a NaN.
 * Source: Hanley, McNeil, "The meaning and use of the area under a ROC curve", Radiology 1982.
 * @example
 * ```ts
 * import { auroc } from "@exitkit/early-exit";
 * console.assert(auroc([0.1, 0.4], [0.35, 0.8]) === 0.75);
 * ```
 */
export function auroc(known: ArrayLike<number>, unknown: ArrayLike<number>): number {
  check("known", known);
  check("unknown", unknown);
  const low = Float64Array.from(known).sort();
  const high = Float64Array.from(unknown).sort();
  // Pairs in which the second kind is larger, a tie one half: walk both in order.
  let below = 0;
  let upTo = 0;
  let pairs = 0;
  for (const score of high) {
    while (below < low.length && low[below]! < score) below++;
    while (upTo < low.length && low[upTo]! <= score) upTo++;
    pairs += (below + upTo) / 2;
  }
  return pairs / (low.length * high.length);
}

function check(name: string, scores: ArrayLike<number>): void {
  if (!(scores?.length > 0)) throw new InputError("early-exit.auroc", `at least one score of the ${name}`, "none");
  for (let i = 0; i < scores.length; i++) {
    if (typeof scores[i] === "number" && !Number.isNaN(scores[i])) continue;
    throw new InputError("early-exit.auroc", `the scores of the ${name} must be numbers`, `${scores[i]} at ${i}`);
  }
}
