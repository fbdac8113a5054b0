import { z } from "zod";
import { common, list } from "./common-types.ts";

const file = z.object({ name: z.string(), sha256: z.string() });
const spread = z.object({ mean: z.number(), deviation: z.number().optional() });

/** result.json of open-world. Accuracies and shares are fractions of 1; deviations are standard deviations. */
export const openWorldSchema = z.object({
  experiment: z.literal("open-world"),
  ...common,
  data: z.object({ name: z.string(), train: z.number(), test: z.number(), files: list(file) }).optional(),
  /** The data set the unknown pictures come from; null: there was none. */
  unknown: z
    .object({
      name: z.string().nullable(),
      kinds: list(z.object({ kind: z.string(), pictures: z.number() })),
      files: list(file),
    })
    .optional(),
  weights: list(z.object({ backbone: z.string(), file: z.string(), sha256: z.string() })),
  /** Of the network trained on eight classes only; null: none was. */
  unseenAccuracy: z.number().nullable().default(null),
  /** How well one number of an exit tells unknown from known pictures. */
  rows: list(
    z.object({
      backbone: z.string(),
      unknown: z.string(),
      metric: z.string(),
      /** novelty or maxProbability. */
      score: z.string(),
      exit: z.string(),
      macsFraction: z.number(),
      auroc: z.number(),
      deviation: z.number().optional(),
    }),
  ),
  rejection: list(
    z.object({
      backbone: z.string(),
      metric: z.string(),
      /** none, leaving or everyExit. */
      at: z.string(),
      /** distance or probability; null: nothing is turned away. */
      by: z.string().nullable(),
      quantile: z.number(),
      accuracy: z.number(),
      answeredAccuracy: z.number(),
      falseRejections: z.number(),
      macsFraction: z.number(),
      unknown: list(z.object({ kind: z.string(), rejected: z.number(), macsFraction: z.number() })),
    }),
  ),
  online: list(
    z.object({
      backbone: z.string(),
      unknown: z.string(),
      /** Pictures of each new class; null: all there are. */
      samples: z.number().nullable(),
      exit: z.string(),
      macsFraction: z.number(),
      predictFrom: z.string(),
      old: spread,
      before: spread,
      fresh: spread,
      repetitions: z.number(),
    }),
  ),
});

/** result.json of `bench run open-world`. */
export type OpenWorldResult = z.output<typeof openWorldSchema>;
