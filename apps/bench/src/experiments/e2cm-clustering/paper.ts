import type { Mean, PaperRow } from "./schema.ts";

/**
 * The mean curves of the paper's figure [M ±0.005]: cost, accuracy. At the first cost everything leaves after the first
 * layer; a cost of 1 is the plain network.
 */
const PAPER: readonly (readonly [dataset: string, points: readonly (readonly [number, number])[]])[] = [
  [
    "Fashion-MNIST",
    [
      [0.235, 0.565],
      [0.376, 0.578],
      [0.6, 0.59],
      [1, 0.6],
    ],
  ],
  [
    "MNIST",
    [
      [0.235, 0.65],
      [0.376, 0.895],
      [0.6, 0.92],
      [1, 0.93],
    ],
  ],
];

/** Error of the figures read from the paper's picture. */
const READING = 0.005;

/** Everything leaves at the first exit: the least budget. Its cost here counts the exit itself, in the paper's guide line not. */
export const LEAST = 0.235;

/**
 * Sets the measured means beside the paper's.
 *
 * @param whole Names of the data sets that were measured with all their pictures: only they are judged.
 */
export function paperRows(
  means: readonly Pick<Mean, "dataset" | "budget" | "macsFraction" | "accuracy">[],
  whole: readonly string[],
): readonly PaperRow[] {
  return PAPER.flatMap(([dataset, points]) =>
    points.map(([macsFraction, paper]) => {
      const budget = macsFraction === 1 ? null : macsFraction;
      const found = means.find((mean) => mean.dataset === dataset && mean.budget === budget);
      if (found === undefined) return { dataset, macsFraction, paper, measured: null, status: "not measured" };
      const below = `below by ${(100 * (paper - found.accuracy)).toFixed(1)} points`;
      const judged = paper - READING <= found.accuracy ? "reached" : below;
      return {
        dataset,
        macsFraction,
        paper,
        measured: { macsFraction: found.macsFraction, accuracy: found.accuracy },
        status: whole.includes(dataset) ? judged : "only a part of the pictures",
      };
    }),
  );
}
