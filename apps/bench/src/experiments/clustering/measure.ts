import { clusterPictures } from "./cluster.ts";
import { agreeing, foldsOf, type Outcome, outcome, withinCost } from "./curve.ts";
import { clusterExits, clusterModel } from "./exits.ts";
import { hungarianMapping } from "./hungarian.ts";
import { judge, type Quality } from "./judge.ts";
import { LEAST } from "./paper.ts";
import { type StagedCheck, stagedCheck } from "./staged.ts";
import type { Subject } from "./subject.ts";

/** One operating point of one run, on the test pictures. */
export interface ClusteringRow extends Quality {
  readonly dataset: string;
  /** From 1. */
  readonly run: number;
  /** Largest cost that was allowed on the calibration pictures; null: the plain network. */
  readonly budget: number | null;
  readonly macsFraction: number;
  readonly agreement: number;
  /** [e]; of the plain network all at the end. */
  readonly shares: readonly number[];
}

/** One run: the clustering, and what its exits are good for. */
export interface ClusteringRun {
  readonly dataset: string;
  readonly run: number;
  readonly seed: number;
  /** The plain network on the test pictures, its clusters named by the training pictures' classes. */
  readonly full: Quality;
  /** The training pictures, after k-means and at the end. */
  readonly kmeans: Quality;
  readonly train: Quality;
  /** Mean squared error of the autoencoder after its own training. */
  readonly reconstruction: number;
  /** Steps of IDEC, and whether it ended because the clusters no longer changed. */
  readonly steps: number;
  readonly settled: boolean;
  /** If every picture left there. */
  readonly perExit: readonly (Quality & { readonly exit: string; readonly macsFraction: number })[];
  /** Thresholds asked to keep {@link FAITHFUL} of the full network's clusters. */
  readonly faithful: Outcome;
  readonly staged: StagedCheck;
  /** Of the clustering; see `Clustered`. */
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** Costs that are allowed, as fractions of the plain network's; at the least everything leaves at the first exit. */
export const BUDGETS: readonly number[] = [
  LEAST,
  0.26,
  0.28,
  0.3,
  0.33,
  0.376,
  0.42,
  0.46,
  0.5,
  0.55,
  0.6,
  0.7,
  0.8,
  0.9,
  1,
];

/** Share of the full network's clusters that is asked for: where no class may be looked at, at most a point is lost. */
export const FAITHFUL = 0.99;

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
  const faithful = outcome(folds, fitted.costs, choice, test.labels, mapping);
  const staged = await stagedCheck(subject, model, exits, folds[1], choice);
  const plain = {
    macsFraction: 1,
    agreement: 1,
    shares: fitted.costs.exits.map((_, exit, all) => (exit === all.length - 1 ? 1 : 0)),
    ...full,
  };
  const rows = BUDGETS.map((budget) => ({
    dataset,
    run,
    budget,
    ...outcome(folds, fitted.costs, withinCost(budget), test.labels, mapping),
  }));
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
      faithful,
      staged,
      seconds: clustered.seconds,
      cpuSeconds: clustered.cpuSeconds,
    },
    rows: [...rows, { dataset, run, budget: null, ...plain }],
  };
}
