import { z } from "zod";
import { common, list } from "./common-types.ts";
import type { RivalsResult } from "./rivals-types.ts";

/*
 * What result.json holds. Accuracies, shares and cost fractions are fractions of 1; MACs are per picture; times are
 * milliseconds per batch, medians over `runs` interleaved repetitions. Lists may be missing from a file: the report then
 * says "not measured in this run".
 */

const exit = z.union([z.string(), z.number()]);
const metric = z.string();

/** A frontier point: one setting of the thresholds. `metric`: euclidean or sharedCovariance. */
const frontierRow = z.object({
  backbone: z.string(),
  metric,
  /** normalised, raw, perSampleMaximum or posterior. */
  rule: z.string(),
  /** full (all features), pooled4x4, int8, ... */
  variant: z.string(),
  /** paper: thresholds chosen on training pictures. sound: on calibration pictures kept apart. */
  protocol: z.string(),
  macsFraction: z.number(),
  accuracy: z.number(),
  thresholds: list(z.number()),
  shares: list(z.number()),
});

const picture = z.object({
  /** A PNG as a data URI. */
  png: z.string(),
  /** Class index. */
  label: z.number(),
  /** Class index. */
  predicted: z.number(),
  exit,
  confidence: z.number(),
});

export const e2cmSchema = z.object({
  experiment: z.literal("e2cm-cifar10"),
  ...common,
  data: z
    .object({
      name: z.string(),
      train: z.number(),
      test: z.number(),
      files: list(z.object({ name: z.string(), sha256: z.string() })),
    })
    .optional(),
  weights: list(z.object({ backbone: z.string(), file: z.string(), sha256: z.string() })),
  classNames: list(z.string()),
  /** The plain network of the headline: the last of `backbones`. */
  full: z.object({ accuracy: z.number() }).optional(),
  backbones: list(z.object({ backbone: z.string(), macs: z.number(), accuracy: z.number(), testPictures: z.number() })),
  /** Accuracy if every picture left at this exit; `depth` counts from 1. */
  perExit: list(
    z.object({
      backbone: z.string(),
      metric,
      variant: z.string(),
      exit,
      depth: z.number(),
      macsFraction: z.number(),
      accuracy: z.number(),
    }),
  ),
  /** `matrix[true][predicted]` counts pictures. */
  confusion: list(
    z.object({ backbone: z.string(), metric, exit, depth: z.number(), matrix: z.array(z.array(z.number())) }),
  ),
  rows: list(frontierRow),
  /** What each protocol means in this run, in words; replaces the report's own words in the footer. */
  protocols: z.record(z.string(), z.string()).optional(),
  exitNames: list(z.string()),
  /** `shares`: every exit in order, the last is the full network. Thresholds chosen to lose at most `wantedLoss`, and what came of it on the test pictures. */
  operating: list(
    z.object({
      backbone: z.string(),
      metric,
      protocol: z.string(),
      wantedLoss: z.number(),
      macsFraction: z.number(),
      accuracy: z.number(),
      shares: list(z.object({ exit, share: z.number() })),
    }),
  ),
  wall: list(
    z.object({
      backbone: z.string(),
      metric,
      batch: z.number(),
      macsFraction: z.number(),
      wallFraction: z.number(),
      accuracy: z.number(),
      /** The loss its thresholds were asked to keep; missing where it is not one of `operating`. */
      wantedLoss: z.number().optional(),
      plainMs: z.number(),
      stagedMs: z.number(),
      runs: z.number(),
    }),
  ),
  /** `ratio`: plain pictures a second divided by pictures a second while fitting. */
  fit: list(
    z.object({
      backbone: z.string(),
      metric,
      pictures: z.number(),
      fitPicturesPerSecond: z.number(),
      plainPicturesPerSecond: z.number(),
      ratio: z.number(),
    }),
  ),
  /** MACs of all exits together, as a fraction of the plain network's. */
  overhead: list(z.object({ backbone: z.string(), metric, variant: z.string(), share: z.number() })),
  examples: z.object({ first: list(picture), last: list(picture) }).optional(),
});

/** result.json of `bench run e2cm-cifar10`. */
export type E2cmCifar10Result = z.output<typeof e2cmSchema>;
/** A result that the report knows how to show. */
export type ReportResult = E2cmCifar10Result | RivalsResult;
export type { RivalsResult };
export type FrontierRow = E2cmCifar10Result["rows"][number];
