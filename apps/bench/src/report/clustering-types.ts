import { z } from "zod";
import { common, list } from "./common-types.ts";

const quality = { accuracy: z.number(), nmi: z.number(), ari: z.number() };

/** What thresholds gave: cost as a fraction of the plain network's MACs, agreement with its clusters, shares by exit. */
const outcome = { macsFraction: z.number(), agreement: z.number(), shares: list(z.number()), ...quality };

const mean = z.object({
  dataset: z.string(),
  /** Largest cost that was allowed; null: the plain network. */
  budget: z.number().nullable(),
  runs: z.number(),
  macsFraction: z.number(),
  ...quality,
  /** Missing for one run. */
  deviation: z.number().optional(),
  agreement: z.number(),
});

/** result.json of e2cm-clustering. Accuracies are clustering accuracies, fractions of 1. */
export const clusteringSchema = z.object({
  experiment: z.literal("e2cm-clustering"),
  ...common,
  ranOn: z.string().optional(),
  data: list(
    z.object({
      name: z.string(),
      complete: z.boolean(),
      train: z.number(),
      test: z.number(),
      files: list(z.object({ name: z.string(), sha256: z.string() })),
    }),
  ),
  recipe: z.record(z.string(), z.unknown()).default({}),
  /** One row for every budget of every run. */
  rows: list(z.object({ dataset: z.string(), run: z.number(), budget: z.number().nullable(), ...outcome })),
  runs: list(
    z.object({
      dataset: z.string(),
      run: z.number(),
      seed: z.number(),
      full: z.object(quality),
      kmeans: z.object(quality),
      train: z.object(quality),
      steps: z.number(),
      settled: z.boolean(),
      perExit: list(z.object({ exit: z.string(), macsFraction: z.number(), ...quality })),
      faithful: z.object(outcome),
      staged: z.object({ pictures: z.number(), early: z.number(), differences: z.number() }),
    }),
  ),
  means: list(mean),
  /** The cheapest point of the mean curve within one point of the plain network. */
  saving: list(z.object({ dataset: z.string(), fullAccuracy: z.number(), point: mean.nullable() })),
  paper: list(
    z.object({
      dataset: z.string(),
      macsFraction: z.number(),
      paper: z.number(),
      measured: z.object({ macsFraction: z.number(), accuracy: z.number() }).nullable(),
      status: z.string(),
    }),
  ),
});

/** result.json of `bench run e2cm-clustering`. */
export type ClusteringResult = z.output<typeof clusteringSchema>;
