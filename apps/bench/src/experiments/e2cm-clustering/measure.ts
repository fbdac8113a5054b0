import { clusterPictures } from "./cluster.ts";
import { agreeing, type Choice, foldsOf, outcome, withinCost } from "./curve.ts";
import { clusterExits, clusterModel } from "./exits.ts";
import { LEAST } from "./paper.ts";
import { hungarianMapping } from "./quality/hungarian.ts";
import { judge } from "./quality/judge.ts";
import type { ClusteringRow, ClusteringRun } from "./schema.ts";
import { stagedCheck } from "./staged.ts";
import type { Subject } from "./subject.ts";

/** Costs that are allowed, as fractions of the plain network's; at the least everything leaves at the first exit. */
export const BUDGETS = [LEAST, ...[0.26, 0.28, 0.3, 0.33, 0.376, 0.42, 0.46, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 1]];

/** Share of the full network's clusters that is asked for: where no class may be looked at, at most a point is lost. */
const FAITHFUL = 0.99;

/** Clusters the pictures, gives the network exits and measures both. */
export async function measureRun(
  subject: Subject,
  dataset: string,
  run: number,
): Promise<{ readonly run: ClusteringRun; readonly rows: readonly ClusteringRow[] }> {
  const { train, test } = subject;
  const clustered = await clusterPictures(subject);
  const mapping = hungarianMapping(clustered.labels, train.labels);
  const model = clusterModel(clustered.network);
  const exits = await clusterExits(subject, clustered, model);
  const { fitted, record } = exits;
  const folds = foldsOf(record, fitted.costs);
  const choice = agreeing(FAITHFUL);
  const full = judge(record.labels, test.labels, mapping);
  const chosen = (choose: Choice) => outcome(folds, fitted.costs, choose, test.labels, mapping);
  const shares = fitted.costs.exits.map((_, exit, all) => (exit === all.length - 1 ? 1 : 0));
  const plain = { macsFraction: 1, agreement: 1, shares, ...full };
  return {
    run: {
      dataset,
      run,
      seed: subject.seed,
      full,
      kmeans: clustered.kmeans,
      train: judge(clustered.labels, train.labels, mapping),
      reconstruction: clustered.losses.at(-1)!,
      steps: clustered.updates.at(-1)!.steps,
      settled: clustered.settled,
      perExit: fitted.exits.map(({ tap }, exit) => ({
        exit: tap,
        macsFraction: fitted.costs.exits[exit]! / fitted.costs.full,
        ...judge(record.predictions[exit]!, test.labels, mapping),
      })),
      faithful: chosen(choice),
      staged: await stagedCheck(subject, model, exits, folds[1], choice),
      seconds: clustered.seconds,
      cpuSeconds: clustered.cpuSeconds,
    },
    rows: [
      ...BUDGETS.map((budget) => ({ dataset, run, budget, ...chosen(withinCost(budget)) })),
      { dataset, run, budget: null, ...plain },
    ],
  };
}
