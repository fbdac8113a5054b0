import { z } from "zod";
import { fileSchema as file } from "../experiments/result.ts";
import { common, list } from "./common-types.ts";

const heldOut = { seed: z.number(), classes: list(z.string()) };
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
  settings: z
    .object({
      /** Training pictures that means of eight classes are made of. */
      heldOutPictures: z.number(),
      /** Choices of held-out classes, and draws of new classes' pictures for each. */
      seeds: z.number(),
      draws: z.number(),
      quantile: z.number(),
      wantedLoss: z.number(),
      /** Networks trained on eight classes only; null: none was. */
      unseen: z.object({ seeds: z.number(), pictures: z.number(), epochs: z.number() }).nullable(),
    })
    .optional(),
  /** The classes held out of the means of a network that was trained on them. */
  heldOut: list(z.object(heldOut)),
  /** The classes that a network trained here has never seen, and its accuracy among the others. */
  unseen: list(z.object({ ...heldOut, accuracy: z.number() })),
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
      /** Known pictures by where they leave. */
      leaving: list(z.object({ exit: z.string(), share: z.number() })),
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
      /** Over choices of held-out classes only. */
      before: spread,
      fresh: spread,
      seeds: z.number(),
      draws: z.number(),
    }),
  ),
});

/** result.json of `bench run open-world`. */
export type OpenWorldResult = z.output<typeof openWorldSchema>;
