import { InputError } from "@exitkit/core-gpu";

/** @throws InputError unless there are e finite weights ≥ 0, not all of them 0. */
export function checkLossWeights(caller: string, weights: readonly number[], e: number): void {
  const fit =
    Array.isArray(weights) &&
    weights.length === e &&
    weights.every((weight) => Number.isFinite(weight) && weight >= 0) &&
    weights.some((weight) => weight > 0);
  if (fit) return;
  const expectation = `the loss needs ${e} finite weights ≥ 0, one for each exit, the last included, and not all 0`;
  throw new InputError(caller, expectation, Array.isArray(weights) ? `[${weights.join(", ")}]` : typeof weights);
}
