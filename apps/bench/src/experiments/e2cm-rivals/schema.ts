import { z } from "zod";
import { datasetClaimSchema } from "../../measuring/claims.ts";
import { amount, share } from "../../measuring/ranges.ts";
import { wallFields } from "../../measuring/wall.ts";
import { dataSchema, list, resultSchema } from "../result.ts";

const point = {
  dataset: z.string(),
  /** e2cm, e2cm-euclidean, sdn, sdn-joint, branchynet, e2cm-sdn, ... */
  method: z.string(),
  /** "one epoch" or "unlimited". */
  budget: z.string(),
  /** Null where nothing is random. */
  seed: z.number().nullable(),
};

/** One point of a method's frontier, on pictures that did not choose its thresholds. Fractions are of the plain network. */
const row = z.object({
  ...point,
  /** The mean cost that was allowed on the pictures that chose the thresholds; null for a timed setting. */
  askedFraction: amount.nullable(),
  macsFraction: amount,
  accuracy: share,
  /** Time ÷ the plain network's at batch 64; null where it was not timed. */
  wallFraction: amount.nullable(),
});

/** The cheapest point that loses at most so much against the plain network, on new pictures; null where there is none. */
const within = z.object({
  ...point,
  wantedLoss: z.number(),
  macsFraction: amount.nullable(),
  accuracy: share.nullable(),
});

/** Wall clock of one setting of a method. */
const wall = z.object({
  ...point,
  /** `loss`: the cheapest setting within the wanted loss; `cost`: the best within the allowed cost. */
  asked: z.string(),
  /** Whether its calibration pictures could keep the wanted loss; else its most accurate setting was timed. */
  within: z.boolean(),
  ...wallFields,
});

/** A data set with its plain network: the accuracy on all test pictures, and how it was trained; null: pretrained. */
const dataset = dataSchema.extend({
  dataset: z.string(),
  complete: z.boolean(),
  classes: z.number().optional(),
  network: z.string(),
  macs: amount,
  accuracy: share,
  trained: z.object({ epochs: amount, seconds: amount }).nullable(),
});

/** A method's points (fraction of the FLOPs, accuracy) in the paper's figure of one epoch. */
const figure = z.object({
  dataset: z.string(),
  network: z.string(),
  method: z.string(),
  points: z.array(z.tuple([z.number(), z.number()]).readonly()).readonly(),
});

const settings = { epochs: amount, batch: amount, seeds: amount, timedLoss: z.number(), timedFraction: z.number() };

/** result.json of e2cm-rivals. */
export const schema = resultSchema({
  datasets: list(dataset),
  settings: z.object(settings).optional(),
  rows: list(row),
  within: list(within),
  /** How right one exit is about all test pictures, from 0, the network's own answer last; MACs of a picture that leaves there. */
  perExit: list(z.object({ ...point, exit: z.number(), macsFraction: amount, accuracy: share })),
  /** What one method took to fit. */
  training: list(z.object({ ...point, epochs: amount, seconds: amount.nullable() })),
  /** A training whose loss became NaN or infinite, and in which of its steps, from 0. */
  diverged: list(z.object({ ...point, epochs: amount, step: z.number() })),
  /** Largest resident set of a process that fits the method on some pictures; "plain": answers them. */
  memory: list(z.object({ dataset: z.string(), method: z.string(), bytes: amount })),
  wall: list(wall),
  /** The paper's poster: accuracy at fractions of the cost. */
  poster: z
    .object({
      fractions: list(z.number()),
      paper: list(z.object({ method: z.string(), accuracies: list(share) })),
    })
    .optional(),
  figure: list(figure),
  claims: list(datasetClaimSchema),
});

export type RivalsResult = z.output<typeof schema>;
export type RivalRow = z.output<typeof row>;
export type WithinRow = z.output<typeof within>;
export type WallRow = z.output<typeof wall>;
export type RivalData = z.output<typeof dataset>;
export type Figure = z.output<typeof figure>;
