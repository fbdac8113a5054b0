import { spread } from "../../measuring/spread.ts";
import { decimal, exact } from "../../report/numbers.ts";
import { distinct } from "../../report/series.ts";
import type { Cell } from "../../report/table.ts";
import type { EepruneResult, EepruneRow, StudyRow } from "./schema.ts";

/** Accuracy of one method at one ratio and budget over the seeds. */
export interface Mean {
  readonly method: string;
  readonly ratio: number;
  readonly budget: string;
  readonly accuracies: readonly number[];
  readonly mean: number;
  /** n − 1; undefined for one seed. */
  readonly deviation: number | undefined;
  /** Mean samples seen in the training, and in order to choose. */
  readonly samplesSeen: number;
  readonly scoringCost: number;
}

/** Means over seeds, in the order of first appearance. */
export function meansOf(rows: readonly EepruneRow[]): readonly Mean[] {
  return grouped(rows, ({ method, ratio, budget }) => `${method} ${ratio} ${budget}`).map((own) => {
    const { method, ratio, budget } = own[0]!;
    const accuracies = own.map(({ accuracy }) => accuracy);
    const { mean, deviation } = spread(accuracies);
    const average = (of: (row: EepruneRow) => number) => own.reduce((sum, row) => sum + of(row), 0) / own.length;
    return {
      method,
      ratio,
      budget,
      accuracies,
      mean,
      deviation,
      samplesSeen: average(({ samplesSeen }) => samplesSeen),
      scoringCost: average(({ scoringCost }) => scoringCost),
    };
  });
}

/** The mean of a method; undefined where it was not measured. */
export function meanOf(means: readonly Mean[], method: string, ratio: number, budget = "epochs"): Mean | undefined {
  return means.find((one) => one.method === method && one.ratio === ratio && one.budget === budget);
}

/** "87.05 % ± 0.04": a mean over seeds as a cell; the best of its row stands out. */
export function accuracyCell(own: Mean | undefined, best: boolean): Cell {
  if (own === undefined) return "–";
  const text =
    own.deviation === undefined ? exact(own.mean) : `${exact(own.mean)} ± ${decimal(100 * own.deviation, 2)}`;
  return best ? { text, tone: "best" } : text;
}

/** Studies over seeds: variant, ratio, method and the accuracies. */
export function studyMeans(rows: readonly StudyRow[]) {
  return grouped(rows, ({ variant, method, ratio }) => `${variant} ${method} ${ratio}`).map((own) => {
    const { variant, method, ratio } = own[0]!;
    const { mean, deviation } = spread(own.map(({ accuracy }) => accuracy));
    return { variant, method, ratio, seeds: own.length, mean, deviation };
  });
}

/** The ratios of the trainings on a part. */
export function ratiosOf({ rows }: Pick<EepruneResult, "rows">): readonly number[] {
  return distinct(rows.map(({ ratio }) => ratio))
    .filter((ratio) => ratio > 0)
    .sort((a, b) => a - b);
}

function grouped<T>(rows: readonly T[], keyOf: (row: T) => string): readonly (readonly T[])[] {
  const groups = new Map<string, T[]>();
  for (const row of rows) groups.set(keyOf(row), [...(groups.get(keyOf(row)) ?? []), row]);
  return [...groups.values()];
}
