import type { Mean, PaperRow } from "./schema.ts";

/**
 * The mean curves of the paper's figure [M ±0.005]: cost, accuracy. At the first cost everything leaves after the first
 * layer; a cost of 1 is the plain network.
 */
const COSTS = [0.235, 0.376, 0.6, 1] as const;
const PAPER = { "Fashion-MNIST": [0.565, 0.578, 0.59, 0.6], MNIST: [0.65, 0.895, 0.92, 0.93] } as const;

/** Error of the figures read from the paper's picture. */
const READING = 0.005;

/** Everything leaves at the first exit: the least budget. Its cost here counts the exit itself, in the paper's guide line not. */
export const LEAST = COSTS[0];

/**
 * Sets the measured means beside the paper's.
 *
 * @param whole Names of the data sets that were measured with all their pictures: only they are judged.
 */
export function paperRows(
  means: readonly Pick<Mean, "dataset" | "budget" | "macsFraction" | "accuracy">[],
  whole: readonly string[],
): readonly PaperRow[] {
  return Object.entries(PAPER).flatMap(([dataset, accuracies]) =>
    COSTS.map((macsFraction, at) => {
      const paper = accuracies[at]!;
      const budget = macsFraction === 1 ? null : macsFraction;
      const found = means.find((mean) => mean.dataset === dataset && mean.budget === budget);
      if (found === undefined) return { dataset, macsFraction, paper, measured: null, status: "not measured" };
      const below = `below by ${(100 * (paper - found.accuracy)).toFixed(1)} points`;
      const judged = paper - READING <= found.accuracy ? "reached" : below;
      const measured = { macsFraction: found.macsFraction, accuracy: found.accuracy };
      const status = whole.includes(dataset) ? judged : "only a part of the pictures";
      return { dataset, macsFraction, paper, measured, status };
    }),
  );
}
