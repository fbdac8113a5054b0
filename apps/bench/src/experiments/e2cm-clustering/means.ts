import { spread } from "../../measuring/spread.ts";
import { grouped } from "../../report/series.ts";
import type { ClusteringRow, Mean, Saving } from "./schema.ts";

/** Accuracy that a saving may cost: one point. */
const LOSS = 0.01;

/** Means over the runs, for every data set and budget in the order of the rows. */
export function meansOf(rows: readonly ClusteringRow[]): readonly Mean[] {
  return grouped(rows, ({ dataset, budget }) => `${dataset}\n${budget}`).map(([, own]) => {
    const { dataset, budget } = own[0]!;
    const of = (name: "macsFraction" | "nmi" | "ari" | "agreement") =>
      own.reduce((sum, row) => sum + row[name] / own.length, 0);
    const { mean: accuracy, ...deviation } = spread(own.map((row) => row.accuracy));
    const [macsFraction, nmi, ari, agreement] = [of("macsFraction"), of("nmi"), of("ari"), of("agreement")];
    return { dataset, budget, runs: own.length, macsFraction, accuracy, ...deviation, nmi, ari, agreement };
  });
}

/** For every data set the cheapest mean point within one point of the plain network's mean accuracy. */
export function savingOf(means: readonly Mean[]): readonly Saving[] {
  return means
    .filter(({ budget }) => budget === null)
    .map(({ dataset, accuracy }) => {
      const within = means.filter((mean) => mean.dataset === dataset && mean.accuracy >= accuracy - LOSS);
      const [point = null] = within
        .filter(({ budget }) => budget !== null)
        .sort((a, b) => a.macsFraction - b.macsFraction);
      return { dataset, fullAccuracy: accuracy, point };
    });
}
