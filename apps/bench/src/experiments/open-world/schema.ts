import { z } from "zod";
import { amount, share } from "../../measuring/ranges.ts";
import { dataSchema, fileSchema, list, resultSchema, weightSchema } from "../result.ts";

const heldOut = z.object({ seed: z.number(), classes: list(z.string()) });

/** Mean and standard deviation (n − 1); the latter missing for one value. */
const spread = z.object({ mean: z.number(), deviation: z.number().optional() });

/** How well one number of one exit tells unknown from known pictures. */
const auroc = z.object({
  backbone: z.string(),
  /** "CIFAR-100, far", "CIFAR-100, near", or of the held-out classes: "held out" (seen when trained), "held out, unseen". */
  unknown: z.string(),
  metric: z.string(),
  /** `novelty`: smallest distance to a class mean; `maxProbability`: one minus the largest probability of the exit. */
  score: z.string(),
  exit: z.string(),
  macsFraction: amount,
  auroc: share,
  /** Standard deviation over repetitions with other classes held out; missing where there is one. */
  deviation: z.number().optional(),
});

/** What turning pictures away does at one operating point. Fractions of 1; means over the two halves of the test pictures. */
const rejection = z.object({
  backbone: z.string(),
  metric: z.string(),
  /** `none` (every picture is given a class), `leaving` or `everyExit`. */
  at: z.string(),
  /** `distance` or `probability`; null: nothing is turned away. */
  by: z.string().nullable(),
  quantile: z.number(),
  /** Of known pictures: answered rightly (a rejected one is not). */
  accuracy: share,
  /** Of the known pictures that were answered: rightly. */
  answeredAccuracy: share,
  falseRejections: share,
  /** MACs of known pictures, as a fraction of the plain network's. */
  macsFraction: amount,
  /** Known pictures by where they leave, the full network last; shares of 1. */
  leaving: list(z.object({ exit: z.string(), share })),
  /** Unknown pictures, and their MACs. */
  unknown: list(z.object({ kind: z.string(), rejected: share, macsFraction: amount })),
});

/** Means and deviations of accuracies with new classes, over draws and choices of held-out classes. */
const online = z.object({
  backbone: z.string(),
  unknown: z.string(),
  /** Pictures of each new class; null: all there are. */
  samples: z.number().nullable(),
  exit: z.string(),
  macsFraction: amount,
  /** `raw` or `normalised`. */
  predictFrom: z.string(),
  old: spread,
  /** Nothing was drawn yet: over choices of held-out classes only. */
  before: spread,
  fresh: spread,
  /** Choices of held-out classes, and draws of pictures for each. */
  seeds: amount,
  draws: z.number(),
});

/** result.json of open-world. */
export const schema = resultSchema({
  data: dataSchema.optional(),
  /** The data set the unknown pictures come from; null: there was none. */
  unknown: z
    .object({
      name: z.string().nullable(),
      kinds: list(z.object({ kind: z.string(), pictures: amount })),
      files: list(fileSchema),
    })
    .optional(),
  weights: list(weightSchema),
  settings: z
    .object({
      /** Training pictures that means of eight classes are made of. */
      heldOutPictures: amount,
      /** Choices of held-out classes, and draws of new classes' pictures for each. */
      seeds: amount,
      draws: z.number(),
      quantile: z.number(),
      wantedLoss: z.number(),
      /** Networks trained on eight classes only; null: none was. */
      unseen: z.object({ seeds: amount, pictures: amount, epochs: amount }).nullable(),
    })
    .optional(),
  /** The classes held out of the means of a network that was trained on them. */
  heldOut: list(heldOut),
  /** The classes that a network trained here has never seen, and its accuracy among the others. */
  unseen: list(heldOut.extend({ accuracy: share })),
  rows: list(auroc),
  rejection: list(rejection),
  online: list(online),
});

export type OpenWorldResult = z.output<typeof schema>;
export type AurocRow = z.output<typeof auroc>;
export type RejectionRow = z.output<typeof rejection>;
export type OnlineRow = z.output<typeof online>;
