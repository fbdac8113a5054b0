import { z } from "zod";
import type { Tensor } from "../tensor.ts";

/** Where a run stands: the next step to do. All count from 0. */
export interface Position {
  /** Over the whole run. */
  readonly step: number;
  readonly epoch: number;
  /** Place in the epoch. */
  readonly batch: number;
}

/** What is known of a finished epoch. */
export interface EpochRecord {
  /** From 0. */
  readonly epoch: number;
  /** Steps done since the start of the run. */
  readonly steps: number;
  /** The learning rate of the epoch's last step; null where the program takes none. */
  readonly learningRate: number | null;
  /** Mean over the epoch's samples (or what `countedBy` counts) of every scalar output, by name: `loss` and others. */
  readonly metrics: Readonly<Record<string, number>>;
  /** What `evaluate` gave; empty without it. */
  readonly evaluation: Readonly<Record<string, number>>;
}

/** Why a run ended: all epochs done, no improvement, a callback's wish, or the signal. */
export type StopReason = "epochs" | "earlyStop" | "callback" | "signal";

/** NaN and the infinities too: what a run may hold, its checkpoint may. */
const anyNumber = z.custom<number>((value) => typeof value === "number", "must be a number");
const numbers = z.record(z.string(), anyNumber);

const record = z.object({
  epoch: z.int(),
  steps: z.int(),
  learningRate: z.number().nullable(),
  metrics: numbers,
  evaluation: numbers,
});

/** What a run follows from besides its batches' plan and its state; hashes but for `scalars`. */
const identitySchema = z.object({
  /** The program without its constants' values. */
  program: z.string(),
  /** The values of the program's constants of one element: momentum, weight decay, factors of the loss. */
  scalars: z.array(z.number()),
  /** The program's other constants. */
  constants: z.string(),
  /** Some samples, spread over all, as one batch. */
  data: z.string(),
  /** What the caller said. */
  identity: z.string().nullable(),
});

export type Identity = z.output<typeof identitySchema>;

/** What a resumed run may have that the run did not, by name. */
export const CHANGES = ["data", "program", "identity"] as const;
export type Change = (typeof CHANGES)[number];

/** What a checkpoint says about the run besides its tensors. Sums are kept so that a resumed epoch's means are the same. */
export const progressSchema = z.object({
  position: z.object({ step: z.int(), epoch: z.int(), batch: z.int() }),
  /** State of the run's generator at the start of the epoch. */
  generator: z.array(z.int()),
  /** What the batches follow from besides the generator. */
  plan: z.object({ size: z.int(), batchSize: z.int(), dropLast: z.boolean(), shuffle: z.boolean() }),
  /** Which run it is; checkpoints of before do not say it. */
  identity: identitySchema.optional(),
  /** What the sums are to be divided by. */
  seen: z.number(),
  sums: numbers,
  learningRate: z.number().nullable(),
  history: z.array(record),
  best: z.object({ epoch: z.int(), value: z.number() }).nullable(),
  stoppedEarly: z.boolean(),
});

export type Progress = z.output<typeof progressSchema>;

/** Adds one step's scalar outputs to the epoch's sums, each weighted by what it is a mean of; nothing where that is 0. */
export function addMetrics(
  sums: Record<string, number>,
  outputs: Readonly<Record<string, Tensor>>,
  weight: number,
): void {
  for (const [name, { shape, data }] of Object.entries(outputs)) {
    if (shape.length === 0) sums[name] = (sums[name] ?? 0) + (weight === 0 ? 0 : Number(data[0]) * weight);
  }
}

/** The names of an epoch's numbers that are NaN or infinite. */
export function notFiniteIn({ metrics, evaluation }: Pick<EpochRecord, "metrics" | "evaluation">): readonly string[] {
  const all = Object.entries({ ...metrics, ...evaluation });
  return all.filter(([, value]) => !Number.isFinite(value)).map(([name]) => name);
}

/** Means of the sums over the samples seen. */
export function meanMetrics(sums: Readonly<Record<string, number>>, seen: number): Record<string, number> {
  return Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum / seen]));
}
