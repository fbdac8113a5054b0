import { z } from "zod";
import { amount, share } from "../../measuring/ranges.ts";
import { dataSchema, list, resultSchema, weightSchema } from "../result.ts";

/** One way to answer. Fractions are of ResNet-56 in float; those of a way that was not timed are null. */
const row = z.object({
  backbone: z.string(),
  method: z.enum(["plain", "cascade", "class means", "cascade with class means"]),
  /** Names of the networks in the order in which they are run, of either fold. */
  members: list(z.string()),
  bits: z.number(),
  /** Of a cascade: whether answers are averaged over the members run, and what was to be little. */
  answer: z.enum(["own", "averaged"]).nullable(),
  objective: z.string().nullable(),
  /** Points of 1 that it was allowed to lose, negative ones to gain; null for a plain network. */
  wantedLoss: z.number().nullable(),
  /** Thresholds chosen on one half of the test pictures and seen on the other, both ways. */
  accuracy: share,
  /** Pictures that only the plain float network answers rightly, and that only this way does; older results do not say it. */
  lostPictures: amount.optional(),
  gainedPictures: amount.optional(),
  macsFraction: amount,
  /** Time in batches of 64, interleaved with the plain float network, the median over rounds. */
  wallFraction: amount.nullable(),
  /** Mean time of pictures one by one, interleaved likewise. */
  wallFraction1: amount.nullable(),
  /** Quantiles of the time of a picture, one by one, milliseconds. */
  p50Ms: amount.nullable(),
  p95Ms: amount.nullable(),
  p99Ms: amount.nullable(),
  /** Bytes of all its networks. */
  bytes: amount,
});

/** What quantising a network cost, on the first calibration batch. */
const quantised = z.object({
  backbone: z.string(),
  weightBits: z.number(),
  saturates: z.boolean().nullable(),
  bytesBefore: amount,
  bytesAfter: amount,
  /** ‖8 bits − float‖ ÷ ‖float‖ of the logits. */
  error: z.number(),
  /** The same, the network as it is written against the network as the runtime fuses it. */
  fusion: z.number(),
  worstLayer: z.object({ tensor: z.string(), error: z.number() }),
});

/** result.json of cascades. */
export const schema = resultSchema({
  data: dataSchema,
  weights: list(weightSchema),
  calibrationPictures: amount,
  /** Test pictures that were timed in batches: all, each half by what the other chose; in older results some of the second half. */
  timedPictures: amount,
  /** Test pictures that were timed one by one; the first of each half. */
  singles: amount.optional(),
  plain: z.object({ macs: amount, accuracy: share, ms64: amount, ms1: amount }),
  quantised: list(quantised),
  rows: list(row),
});

export type CascadesResult = z.output<typeof schema>;
export type CascadesRow = CascadesResult["rows"][number];
