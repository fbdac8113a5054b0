import { z } from "zod";
import { halvingFields } from "../../measuring/halvings.ts";
import { amount, share } from "../../measuring/ranges.ts";
import { wallFields } from "../../measuring/wall.ts";
import { dataSchema, list, resultSchema, weightSchema } from "../result.ts";

/** Its name: where it reads, e.g. block6; `full` is the network's own. */
const exit = z.string();
/** `euclidean` or `sharedCovariance`. */
const metric = z.string();
/** full (all features), pooled4x4, int8, moments, ... */
const variant = z.string();
/**
 * How thresholds were chosen. `paper`: on training pictures, reported on all test pictures. `guarded`: on one half of the test pictures, so
 * that the loss that was asked for is kept on new ones with a probability that is said, reported on the other half, both ways.
 * `aimed`: the same without a guarantee.
 */
const choice = z.enum(["guarded", "aimed", "paper"]);

/** One point of the accuracy–MACs frontier, measured on pictures that did not choose its thresholds. */
const frontierRow = z.object({
  backbone: z.string(),
  metric,
  /** normalised, raw, perSampleMaximum or posterior. */
  rule: z.string(),
  variant,
  choice,
  macsFraction: amount,
  accuracy: share,
  /** Of the exits, the full network last. */
  shares: list(share),
  /** What the thresholds were asked to lose at most on the pictures that chose them; null for a point of the hull. */
  wantedLoss: z.number().nullish(),
});

/** Accuracy if every picture left at this exit; `depth` counts from 1, 0 is the stem. */
const exitRow = z.object({
  backbone: z.string(),
  metric,
  variant,
  exit,
  depth: amount,
  macsFraction: amount,
  accuracy: share,
});

/** `matrix[true][predicted]` counts pictures. */
const confusion = z.object({
  backbone: z.string(),
  metric,
  exit,
  depth: amount,
  matrix: z.array(z.array(z.number()).readonly()).readonly(),
});

/** How often the promise failed in random halvings of the test pictures. */
const halving = z.object({ backbone: z.string(), metric, variant, ...halvingFields });

/** Wall clock of one batch size, on the half that chose nothing, of the random halving whose guarded MACs are the median of all. */
const wall = z.object({
  backbone: z.string(),
  metric,
  ...wallFields,
  /** The loss that was asked for; guarded. */
  wantedLoss: z.number(),
});

/** Speed of fitting; `ratio`: the median over rounds of it ÷ the plain network's over the same pictures. */
const fit = z.object({
  backbone: z.string(),
  /** Which pass, in words. */
  metric,
  pictures: amount,
  fitPicturesPerSecond: amount,
  plainPicturesPerSecond: amount,
  ratio: z.number(),
});

/** What exits add when nothing leaves: MACs, and time at batch 64, as shares of the plain network's. */
const overhead = z.object({
  backbone: z.string(),
  metric,
  variant,
  exits: z.number().optional(),
  share: amount,
  wallShare: z.number().optional(),
  wallSharePerExit: z.number().optional(),
});

const picture = z.object({
  /** A PNG as a data URI. */
  png: z.string(),
  /** Class indices. */
  label: z.number(),
  predicted: z.number(),
  exit,
  confidence: z.number(),
});

/** result.json of e2cm-cifar10. */
export const schema = resultSchema({
  data: dataSchema.optional(),
  weights: list(weightSchema),
  classNames: list(z.string()),
  /** The headline's is the last. */
  backbones: list(z.object({ backbone: z.string(), macs: amount, accuracy: share, testPictures: amount })),
  perExit: list(exitRow),
  confusion: list(confusion),
  exitNames: list(z.string()),
  halvings: list(halving),
  fit: list(fit),
  overhead: list(overhead),
  rows: list(frontierRow),
  wall: list(wall),
  examples: z.object({ first: list(picture), last: list(picture) }).optional(),
});

export type E2cmCifar10Result = z.output<typeof schema>;
export type FrontierRow = z.output<typeof frontierRow>;
export type ExitRow = z.output<typeof exitRow>;
export type Confusion = z.output<typeof confusion>;
export type ChoiceName = z.output<typeof choice>;
export type WallRow = z.output<typeof wall>;
export type Picture = z.output<typeof picture>;
