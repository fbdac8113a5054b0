import { spread } from "../../measuring/spread.ts";
import type { ClusteringRow, Mean, Saving } from "./schema.ts";

/** Accuracy that a saving may cost: one point. */
const LOSS = 0.01;

/** Means over the runs, for every data set and budget in the order of the rows. */
export function meansOf(rows: readonly ClusteringRow[]): readonly Mean[] {
  const groups = new Map<string, ClusteringRow[]>();
  for (const row of rows) {
    const key = `${row.dataset}\n${row.budget}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()].map((own) => {
    const n = own.length;
    const mean = (value: (row: ClusteringRow) => number) => own.reduce((sum, row) => sum + value(row) / n, 0);
    const { mean: accuracy, ...deviation } = spread(own.map((row) => row.accuracy));
    return {
      dataset: own[0]!.dataset,
      budget: own[0]!.budget,
      runs: n,
      macsFraction: mean((row) => row.macsFraction),
      accuracy,
      ...deviation,
      nmi: mean((row) => row.nmi),
      ari: mean((row) => row.ari),
      agreement: mean((row) => row.agreement),
    };
  });
}

/** For every data set the cheapest mean point within one point of the plain network's mean accuracy. */
export function savingOf(means: readonly Mean[]): readonly Saving[] {
  return means
    .filter(({ budget }) => budget === null)
    .map(({ dataset, accuracy }) => {
      const within = means.filter(
        (mean) => mean.dataset === dataset && mean.budget !== null && mean.accuracy >= accuracy - LOSS,
      );
      const point = within.reduce<Mean | null>(
        (best, mean) => (best === null || mean.macsFraction < best.macsFraction ? mean : best),
        null,
      );
      return { dataset, fullAccuracy: accuracy, point };
    });
}
