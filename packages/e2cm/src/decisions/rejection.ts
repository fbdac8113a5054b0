import { generator, InputError } from "@exitkit/core-gpu";
import { z } from "zod";
import type { FittedExit, OutputExit } from "../exits/exits.ts";

/** How samples of no known class are turned away. Plain data. */
export interface Rejection {
  /** q in (0, 1): a sample of a known class is rejected with a probability of at most 1 − q; see {@link RejectOptions}. */
  readonly quantile: number;
  /**
   * - `leaving`: a sample is looked at when it leaves; rejecting changes its answer to `REJECTED` (−1) and saves nothing.
   * - `everyExit`: a sample leaves, rejected, at the first exit that finds it novel; nothing behind it is computed.
   */
  readonly at: "leaving" | "everyExit";
  /**
   * What novelty is: the smallest `distance` to any class mean (see `exitNovelty`), or one minus the largest `probability` that the
   * exit gives to any class.
   */
  readonly by: "distance" | "probability";
  /** [e] of every exit, the full network included: the largest novelty that still counts as a known class. */
  readonly thresholds: readonly number[];
}

/** What rejection is asked for. */
export interface RejectOptions {
  /**
   * q in (0, 1): a sample of a known class is rejected with a probability of at most 1 − q, over the draw of the calibration
   * samples and of that sample. Default 0.95.
   */
  readonly quantile?: number;
  /** When a sample is looked at; see {@link Rejection}. Default `leaving`. */
  readonly at?: "leaving" | "everyExit";
  /** What novelty is; see {@link Rejection}. Default `distance`, which needs class means of the network's outputs. */
  readonly by?: "distance" | "probability";
}

/** Schema of the option `reject`. */
export const rejectOption = z
  .strictObject({
    quantile: z.number().gt(0).lt(1).default(0.95),
    at: z.enum(["leaving", "everyExit"]).default("leaving"),
    by: z.enum(["distance", "probability"]).default("distance"),
  })
  .optional();

/** Schema of a {@link Rejection}. */
export const rejectionSchema = z.strictObject({
  quantile: z.number().gt(0).lt(1),
  at: z.enum(["leaving", "everyExit"]),
  by: z.enum(["distance", "probability"]),
  thresholds: z.array(z.number()).readonly(),
});

/** Each exit's novelty is measured in this quantile of its own, whatever is asked for, so that a larger q never rejects more. */
const SCALE_QUANTILE = 0.95;

/** How far the level lies above the largest of all S, as a part of it, where there is no next one. */
const MARGIN = 1e-3;

/** Deals calibration samples into halves, always alike. */
const SEED = 1;

/** Indices of calibration samples. */
interface Halves {
  /** ⌈n/2⌉ that candidates are chosen on and scales are taken from. */
  readonly scaling: Int32Array;
  /** ⌊n/2⌋ that the level is taken from. */
  readonly testing: Int32Array;
}

/**
 * Deals n calibration samples into two halves, in an order drawn at random once for every n (a generator with a fixed seed):
 * whatever the order of the stream is, class after class or classes in turn, either half is a random sample of it.
 *
 * The order looks at no sample, so samples exchangeable before it are so after it.
 */
export function halvesOf(n: number): Halves {
  const order = generator(SEED).permutation(n);
  const half = Math.ceil(n / 2);
  return { scaling: order.subarray(0, half), testing: order.subarray(half) };
}

/**
 * The largest novelty of every exit that still counts as known, τ_j = λ·s_j, so that a new sample of a known class exceeds
 * one or more of them with a probability of at most 1 − q over the draw of all pictures: whatever the classes look like, for any
 * number of calibration samples that is not refused, and whatever confidence thresholds decide where samples leave.
 *
 * One half ({@link halvesOf}) only scales: s_j is their 0.95-quantile at exit j. Of the others, N in number, each gives
 * S = max_j novelty_j / s_j, and λ lies midway between the ⌈(N + 1)q⌉-th smallest S and the next (so that no sample's answer hangs
 * on rounding). A new sample's S is above it with probability at most 1 − q, because all N + 1 ranks are equally likely. So they
 * are if the exits themselves were chosen on the scaling half, but not if they were on the other.
 *
 * Source: split conformal prediction, Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005; for novelty
 * Bates, Candès, Lei, Romano, Sesia, "Testing for outliers with conformal p-values", 2023 [D].
 * Differs: one level for all exits at once, by the largest of their scaled novelties.
 *
 * @param novelty [e][n] of calibration samples of known classes, exchangeable with those to come.
 * @returns [e]
 * @throws InputError when there are too few samples for so large a quantile.
 */
export function rejectionThresholds(
  caller: string,
  novelty: readonly Float32Array[],
  quantile: number,
): readonly number[] {
  const n = novelty[0]!.length;
  const { scaling, testing } = halvesOf(n);
  const scales = novelty.map((own) => {
    const sorted = Float32Array.from(scaling, (i) => own[i]!).sort();
    return sorted[Math.ceil(sorted.length * SCALE_QUANTILE) - 1] || 1;
  });
  const largest = Float64Array.from(testing, (i) =>
    novelty.reduce((most, own, j) => Math.max(most, own[i]! / scales[j]!), 0),
  ).sort();
  // The sum of floating-point errors must not carry an exact product over the next whole number.
  const rank = Math.ceil((largest.length + 1) * quantile - 1e-9);
  const level = largest[rank - 1];
  if (level !== undefined) {
    const next = largest[rank] ?? level * (1 + 2 * MARGIN);
    return scales.map((scale) => ((level + next) / 2) * scale);
  }
  const needed = 2 * Math.ceil(quantile / (1 - quantile) - 1e-9);
  const expectation = `rejection at the quantile ${quantile} needs at least ${needed} calibration samples`;
  throw new InputError(caller, expectation, `${n}`, "Pass more of them, or ask for a smaller quantile.");
}

/**
 * Refuses exits whose novelty cannot be told.
 *
 * @throws InputError when there are no class means of the network's outputs, or an exit was saved before its space was kept.
 */
export function checkNovelty(
  caller: string,
  { exits, output }: { readonly exits: readonly FittedExit[]; readonly output: OutputExit | null },
): void {
  if (output === null) {
    throw new InputError(
      caller,
      "novelty at the last exit needs class means of the network's outputs",
      "exits without them",
      "Fit with the option reject, or name the network's output as the last of the exits that statistics are accumulated for.",
    );
  }
  const old = [...exits, output].findIndex((exit) => exit.metric === "sharedCovariance" && exit.space === null);
  if (old < 0) return;
  const expectation = "exits with a shared covariance must keep the space of their class means";
  throw new InputError(caller, expectation, `none at exit ${old}, saved by an older version`, "Fit them again.");
}
