import { z } from "zod";
import { amount, share } from "../../measuring/ranges.ts";
import { wallFields } from "../../measuring/wall.ts";
import { dataSchema, list, resultSchema, weightSchema } from "../result.ts";

const exit = z.union([z.string(), z.number()]);
/** `euclidean` or `sharedCovariance`. */
const metric = z.string();
/** full (all features), pooled4x4, int8, moments, ... */
const variant = z.string();
/**
 * `paper`: thresholds from training pictures, reported on all test pictures. `sound`: from one half of the test pictures, reported
 * on the other, both ways.
 */
const protocol = z.string();

/** One point of the accuracy–MACs frontier, measured on pictures that did not choose its thresholds. */
const frontierRow = z.object({
  backbone: z.string(),
  metric,
  /** normalised, raw, perSampleMaximum or posterior. */
  rule: z.string(),
  variant,
  protocol,
  macsFraction: amount,
  accuracy: share,
  /** Of the first half, where there are two. */
  thresholds: list(z.number()),
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

/** Thresholds chosen to lose at most `wantedLoss`, and what came of it on the test pictures; the last exit is the full network. */
const operating = z.object({
  backbone: z.string(),
  metric,
  protocol,
  wantedLoss: z.number(),
  macsFraction: amount,
  accuracy: share,
  shares: list(z.object({ exit, share })),
});

/** Wall clock of one batch size, on the first pictures of the second half. */
const wall = z.object({
  backbone: z.string(),
  metric,
  ...wallFields,
  fullAccuracy: share.optional(),
  /** The loss its thresholds were asked to keep; missing where it is not one of `operating`. */
  wantedLoss: z.number().optional(),
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
  /** The plain network of the headline: the last of `backbones`. */
  full: z.object({ accuracy: share }).optional(),
  backbones: list(z.object({ backbone: z.string(), macs: amount, accuracy: share, testPictures: amount })),
  perExit: list(exitRow),
  confusion: list(confusion),
  exitNames: list(z.string()),
  operating: list(operating),
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
export type Operating = z.output<typeof operating>;
export type WallRow = z.output<typeof wall>;
export type Picture = z.output<typeof picture>;
