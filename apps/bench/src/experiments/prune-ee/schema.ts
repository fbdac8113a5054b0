import { z } from "zod";
import { claimSchema } from "../../measuring/claims.ts";
import { amount, share } from "../../measuring/ranges.ts";
import { dataSchema, list, resultSchema } from "../result.ts";

const order = z.enum(["dense", "together", "sequential", "exitsFirst", "random"]);

/** What came of an exit: all pictures leave there. `macsFraction`: of the dense network's MACs, products with zeros left out. */
const exitRow = z.object({
  network: z.string(),
  /** `dense`: before pruning. `random`: together, but weights go at random. */
  order,
  seed: z.number(),
  /** Rounds of pruning behind it. */
  round: amount,
  /** Zeros ÷ weights of backbone and exits. */
  sparsity: share,
  exit: z.string(),
  accuracy: share,
  macsFraction: amount,
});

/** One threshold for all exits, on the largest probability. */
const curveRow = z.object({
  order,
  seed: z.number(),
  threshold: z.number(),
  accuracy: share,
  macsFraction: amount,
});

const layerRow = z.object({ order, seed: z.number(), path: z.string(), size: amount, sparsity: share });

/** Whole channels removed, then fine-tuned; and the plain networks beside it. Times of a batch, medians, interleaved. */
const channelRow = z.object({
  network: z.string(),
  /** 1: the network as it was. */
  keep: amount,
  /** The wanted share of the layers' time by the table, of networks that were pruned for it. */
  wanted: amount.optional(),
  seed: z.number(),
  accuracy: share,
  macsFraction: amount,
  wallFraction: amount,
  batch: amount,
  runs: amount,
});

/** A layer by itself on this machine: milliseconds of a batch. */
const layerTime = z.object({
  /** "conv 3×3 at 16×16" */
  place: z.string(),
  in: amount,
  out: amount,
  milliseconds: amount,
  milliseconds8: amount,
});

/** A 3×3 convolution at 16×16 with as many channels in as out: the widest is 1. */
const widthRow = z.object({ width: amount, macsFraction: amount, wallFraction: amount, wallFraction8: amount });

/** What result.json holds. */
export const schema = resultSchema({
  data: dataSchema.optional(),
  network: z.string(),
  pictures: amount,
  rounds: amount,
  fraction: z.number(),
  epochs: amount,
  /** Of the networks without some channels. */
  channelEpochs: amount.default(0),
  rows: list(exitRow),
  curves: list(curveRow),
  layers: list(layerRow),
  channels: list(channelRow),
  layerTimes: list(layerTime),
  widths: list(widthRow),
  /** Channels that the runtime computes together, seen by the times of widths; 0: not measured. */
  block: amount.default(0),
  claims: list(claimSchema),
  /** Seeds that there was no time for. */
  leftOut: amount.default(0),
});

export type PruneResult = z.output<typeof schema>;
export type Order = z.output<typeof order>;
export type ExitRow = PruneResult["rows"][number];
export type CurveRow = PruneResult["curves"][number];
export type LayerRow = PruneResult["layers"][number];
export type ChannelRow = PruneResult["channels"][number];
