import { z } from "zod";
import { amount, share } from "../../measuring/ranges.ts";
import { dataSchema, list, resultSchema } from "../result.ts";

/** How well clusters fit classes; fractions of 1. */
const quality = z.object({
  /** With each cluster standing for one class. */
  accuracy: share,
  nmi: z.number(),
  ari: z.number(),
});

/** What the test pictures are answered under thresholds that were chosen without classes. */
const outcome = quality.extend({
  /** Mean MACs a picture, exits included, as a fraction of the plain network's. */
  macsFraction: amount,
  /** Share of the pictures that get the full network's cluster. */
  agreement: share,
  /** [e]: share of the pictures that leaves at each exit, the full network last. */
  shares: list(share),
});

/** One operating point of one run, on the test pictures. */
const row = outcome.extend({
  dataset: z.string(),
  /** From 1. */
  run: z.number(),
  /** Largest cost that was allowed on the calibration pictures; null: the plain network. */
  budget: z.number().nullable(),
});

/** One run: the clustering, and what its exits are good for. */
const run = z.object({
  dataset: z.string(),
  run: z.number(),
  seed: z.number(),
  /** The plain network on the test pictures, its clusters named by the training pictures' classes. */
  full: quality,
  /** The training pictures, after k-means and at the end. */
  kmeans: quality,
  train: quality,
  /** Mean squared error of the autoencoder after its own training. */
  reconstruction: z.number().optional(),
  /** Steps of IDEC, and whether it ended because the clusters no longer changed. */
  steps: amount,
  settled: z.boolean(),
  /** If every picture left there. */
  perExit: list(quality.extend({ exit: z.string(), macsFraction: amount })),
  /** Thresholds asked to keep `FAITHFUL` of the full network's clusters. */
  faithful: outcome,
  /** The network really run in stages, against the replay of what all its exits say. */
  staged: z.object({
    pictures: amount,
    /** Share of the pictures that left before the end. */
    early: z.number(),
    /** Pictures that were answered otherwise, or left at another exit, than replayed. */
    differences: z.number(),
  }),
  /** Of the clustering; see `Clustered`. */
  seconds: amount.optional(),
  cpuSeconds: amount.optional(),
});

/** Means over the runs of one data set at one budget. */
const mean = quality.extend({
  dataset: z.string(),
  budget: z.number().nullable(),
  runs: amount,
  macsFraction: amount,
  /** Standard deviation of the accuracy over the runs (n − 1); missing for one run. */
  deviation: z.number().optional(),
  agreement: share,
});

/** The cheapest point of the mean curve that loses at most a point. */
const saving = z.object({
  dataset: z.string(),
  /** Mean accuracy of the plain network. */
  fullAccuracy: share,
  /** Null where no point of the curve loses so little. */
  point: mean.nullable(),
});

/** A point of the paper's mean curve and what was measured there. */
const paper = z.object({
  dataset: z.string(),
  /** MACs, as a fraction of the plain network's. */
  macsFraction: amount,
  /** Mean clustering accuracy that the paper shows there. */
  paper: z.number(),
  /** Mean over our runs, and what it cost; null where it was not measured. */
  measured: z.object({ macsFraction: amount, accuracy: share }).nullable(),
  /** "reached", "below by 1.2 points", "only a part of the pictures" or "not measured". */
  status: z.string(),
});

/** result.json of e2cm-clustering. */
export const schema = resultSchema({
  data: list(dataSchema),
  recipe: z.record(z.string(), z.unknown()).default({}),
  /** One row for every budget of every run. */
  rows: list(row),
  runs: list(run),
  means: list(mean),
  saving: list(saving),
  paper: list(paper),
});

export type ClusteringResult = z.output<typeof schema>;
export type Quality = z.output<typeof quality>;
export type Outcome = z.output<typeof outcome>;
export type ClusteringRow = z.output<typeof row>;
export type ClusteringRun = z.output<typeof run>;
export type Mean = z.output<typeof mean>;
export type Saving = z.output<typeof saving>;
export type PaperRow = z.output<typeof paper>;
