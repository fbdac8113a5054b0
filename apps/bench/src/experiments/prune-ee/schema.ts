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
  seed: z.number(),
  accuracy: share,
  macsFraction: amount,
  wallFraction: amount,
  batch: amount,
  runs: amount,
});

/** What result.json holds. */
export const schema = resultSchema({
  data: dataSchema.optional(),
  network: z.string(),
  pictures: amount,
  rounds: amount,
  fraction: z.number(),
  epochs: amount,
  rows: list(exitRow),
  curves: list(curveRow),
  layers: list(layerRow),
  channels: list(channelRow),
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
