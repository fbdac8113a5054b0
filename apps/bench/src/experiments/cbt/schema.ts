import { z } from "zod";
import { claimSchema } from "../../measuring/claims.ts";
import { amount, share } from "../../measuring/ranges.ts";
import { list, resultSchema, weightSchema } from "../result.ts";

/** A way to stop, measured on the test frames. */
const row = z.object({
  network: z.string(),
  /** `plain`, `one threshold`, `cbt`, `solved`. */
  method: z.enum(["plain", "one threshold", "cbt", "solved"]),
  /** Of class based thresholds the range; of one threshold both are it. */
  alpha: z.number().nullable(),
  beta: z.number().nullable(),
  miou: share,
  pixelAccuracy: share,
  /** Mean MACs of a frame for the masks that occurred ÷ those of the plain network. */
  macsFraction: amount,
  /** Time of a frame ÷ the plain network's in the same round, median over rounds; null where it was not timed. */
  wallFraction: amount.nullable(),
  /** Median milliseconds a frame. */
  ms: amount.nullable(),
  /** How many of the timed stages behind an exit were gathered and how many computed whole. */
  execution: z.string(),
  /** Share of the pixels that stopped at each exit. */
  stopped: list(share),
});

const exit = z.object({ network: z.string().default("ESPNet"), place: z.string(), miou: share, pixelAccuracy: share });

const classRow = z.object({
  network: z.string().default("ESPNet"),
  name: z.string(),
  /** Largest minus second largest mean probability. */
  ease: z.number().nullable(),
  /** With the first range. */
  threshold: z.number(),
  /** Of the nearest class of Cityscapes in the paper's figure. */
  paper: z.number(),
  /** Of the plain network on the test frames. */
  iou: share.nullable(),
});

/** Frames of one light, with thresholds from all training frames or from those of that light. */
const group = z.object({
  network: z.string(),
  group: z.enum(["dusk", "day"]),
  from: z.enum(["all frames", "its own frames"]),
  frames: z.number(),
  thresholds: list(z.number()),
  miou: z.number(),
  macsFraction: z.number(),
});

/** One threshold whose share of changed pixels is bounded over frames. */
const calibrated = z.object({
  network: z.string(),
  maxRisk: z.number(),
  delta: z.number(),
  /** Frames that chose. */
  frames: z.number(),
  /** Null where nothing was certified. */
  threshold: z.number().nullable(),
  /** Share of changed pixels on the frames that chose, and on others; mean loss of a frame's mean IoU there. */
  seen: z.number(),
  others: z.number(),
  othersLoss: z.number(),
  macsFraction: z.number().nullable(),
});

const goal = z.object({ network: z.string(), goal: z.string(), measured: z.string(), met: z.boolean() });

const picture = z.object({
  network: z.string(),
  name: z.string(),
  frame: z.string(),
  labels: z.string(),
  answer: z.string(),
  stopped: z.string(),
  /** Share of its pixels that stopped at each exit. */
  shares: list(share),
});

/** result.json of cbt. */
export const schema = resultSchema({
  data: z.object({ name: z.string(), train: amount, test: amount, timed: amount }),
  weights: list(weightSchema),
  rows: list(row),
  exits: list(exit),
  classes: list(classRow),
  groups: list(group),
  calibrated: list(calibrated),
  goals: list(goal),
  range: z.tuple([z.number(), z.number()]).readonly(),
  claims: list(claimSchema),
  pictures: list(picture),
});

export type CbtResult = z.output<typeof schema>;
export type CbtRow = CbtResult["rows"][number];
export type CbtPicture = CbtResult["pictures"][number];
