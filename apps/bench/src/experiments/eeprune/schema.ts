import { z } from "zod";
import { effortFields } from "../../measuring/effort.ts";
import { amount, share } from "../../measuring/ranges.ts";
import { dataSchema, list, resultSchema } from "../result.ts";

/** One training from scratch on what a method kept. */
const row = z.object({
  dataset: z.string(),
  /** A method of eeprune's `pruneBy`; "whole": nothing pruned, stopped when it has seen as many samples as the others. */
  method: z.string(),
  /** Of the training pictures that went; for "whole" of the samples that were not seen. 0: nothing pruned, all epochs. */
  ratio: z.number(),
  /** "epochs": each kept picture as often as in the training on all; "steps": as many steps as that. */
  budget: z.string(),
  seed: z.number(),
  accuracy: share,
  samplesSeen: amount,
  steps: amount,
  seconds: amount,
  ...effortFields,
  /** Samples that training steps saw in order to choose; 0 where nothing is trained for it. */
  scoringCost: amount,
});

const study = z.object({
  seed: z.number(),
  /** What is varied: a place of the exit, "kept" or "pruned", "with head" or "without". */
  variant: z.string(),
  method: z.string(),
  ratio: z.number(),
  accuracy: share,
});

const noise = z.object({
  seed: z.number(),
  /** Of the training pictures whose labels were changed. */
  share,
  method: z.string(),
  changed: amount,
  /** Pictures that the method names. */
  flagged: amount,
  /** Of those named, the share that was changed; of those changed, the share that is named. */
  precision: share,
  recall: share,
});

const classes = z.object({
  seed: z.number(),
  method: z.string(),
  ratio: z.number(),
  /** [k] pictures of each class that went. */
  pruned: z.array(z.number()).readonly(),
});

const brief = z.object({
  seed: z.number(),
  place: z.string(),
  early: z.number(),
  final: z.number(),
  both: z.number(),
  samplesSeen: amount,
  samplesScored: amount,
  macs: amount,
  trainingSeconds: amount,
  scoringSeconds: amount,
  /** Of both. */
  ...effortFields,
});

/** result.json of eeprune. */
export const schema = resultSchema({
  data: dataSchema,
  settings: z.object({
    network: z.string(),
    epochs: amount,
    briefEpochs: z.number(),
    batch: amount,
    seeds: amount,
    reduced: z.boolean(),
    /** Multiply-accumulates of a picture through the network. */
    macs: amount,
    /** Cells that --minutes left no time for. */
    leftOut: z.number(),
  }),
  rows: list(row),
  brief: list(brief),
  /** D_p against its complement. */
  complement: list(study),
  /** Where the exit sits. */
  places: list(study),
  /** The final network trained with an exit's head and without. */
  head: list(study),
  /** Labels changed on purpose. */
  noise: list(noise),
  classSize: list(z.number()),
  classes: list(classes),
  toy: list(
    z.object({
      epoch: amount,
      x: z.array(z.number()).readonly(),
      y: z.array(z.number()).readonly(),
      label: z.array(z.number()).readonly(),
      pruned: z.array(z.number()).readonly(),
    }),
  ),
});

export type EepruneResult = z.output<typeof schema>;
export type EepruneRow = EepruneResult["rows"][number];
export type StudyRow = EepruneResult["places"][number];
export type NoiseRow = EepruneResult["noise"][number];
