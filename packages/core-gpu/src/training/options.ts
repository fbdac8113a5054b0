import { z } from "zod";
import type { Runner } from "../device/runner.ts";
import type { Generator } from "../random.ts";
import type { Tensor } from "../tensor.ts";
import type { Collected } from "./collect.ts";
import type { Batch, Dataset } from "./dataset.ts";
import { CHANGES, type Change, type EpochRecord, type Position, type StopReason } from "./progress.ts";

/** A step that was just done. */
export interface StepEvent extends Position {
  /** Batches in the epoch. */
  readonly batches: number;
  readonly loss: number;
  /** Null where the program takes none. */
  readonly learningRate: number | null;
  /** Which samples the batch held. */
  readonly indices: Int32Array;
  /** All outputs of the step that are not state, by name. */
  readonly outputs: Readonly<Record<string, Tensor>>;
}

/** An epoch that was just done. */
export interface EpochEvent extends EpochRecord {
  /** What `collect` asked for, of this epoch; null when it asked for nothing. */
  readonly collected: Collected | null;
  /** Whether this is the best epoch so far by the early stop's metric, which NaN and infinity never are; true for each without one. */
  readonly best: boolean;
  /** The epoch's numbers (`metrics` and `evaluation`) that are NaN or infinite, by name. */
  readonly notFinite: readonly string[];
  /** The checkpoint of this moment; null where none was written. */
  readonly checkpoint: string | null;
}

/** When to stop for want of improvement. */
export interface EarlyStopOptions {
  /** One of `evaluate`'s numbers, or of the step's scalar outputs (`loss`). */
  readonly metric: string;
  /** Whether less or more is better. Default `min`. */
  readonly direction?: "min" | "max";
  /** Epochs without improvement after which the run stops. Default 5. */
  readonly patience?: number;
  /** What counts as improvement: more than this. Default 0. */
  readonly minDelta?: number;
  /** Leave the runner with the state of the best epoch. Default true. */
  readonly restoreBest?: boolean;
}

/** Where and how often a run is saved. */
export interface CheckpointOptions {
  /** The run's own folder; made if it is missing. */
  readonly folder: string;
  /** Save after every so many steps as well as after every epoch. Default: only after epochs. */
  readonly everySteps?: number;
  /** Save after every so many epochs (and after the last). Default 1. */
  readonly everyEpochs?: number;
  /** How many of the newest checkpoints stay. Default 2. */
  readonly keep?: number;
}

/** Options of {@link train}. */
export interface TrainOptions {
  /** A compiled training step: its state is what is trained; it gives a scalar `loss`. */
  readonly runner: Runner;
  readonly data: Dataset;
  readonly batchSize: number;
  /** How often every sample is seen. */
  readonly epochs: number;
  /** Orders the samples and is split for every batch's augmentation. A resumed run takes the checkpoint's instead. */
  readonly generator: Generator;
  /**
   * Fed to the program's input `learningRate` (float32 []), if it has one: a number, or a function of the number of updates
   * done (see `schedules`); with `accumulate` an update is a window of batches, not a batch.
   */
  readonly learningRate?: number | ((update: number) => number);
  /**
   * Batches for each update, for a program that accumulates gradients (`optimisers.accumulate`): its input `closeWindow`
   * (bool []) is fed true at every so many batches of an epoch and at the epoch's last, however few are left. Default 1.
   */
  readonly accumulate?: number;
  /**
   * A scalar output that says what a batch's scalars are means of (the labels that are not ignored): the epoch's means weigh
   * batches by it. Default: a batch's samples.
   */
  readonly countedBy?: string;
  /** More inputs for a step, such as dropout masks. Its generator is of this step alone. */
  readonly feeds?: (
    step: Position & { readonly generator: Generator; readonly samples: number },
  ) => Batch | Promise<Batch>;
  /** Whether samples come in another random order in every epoch. Default true. */
  readonly shuffle?: boolean;
  /** Leave out the samples that do not fill a batch. Default false. */
  readonly dropLast?: boolean;
  /** Batches that are asked for before they are needed. They overlap the step when a worker makes them. Default 1. */
  readonly prefetch?: number;
  /** Outputs of shape [n, ...] to keep for every sample of an epoch (losses, logits, confidences). Default none. */
  readonly collect?: readonly string[];
  /** Judges the network after every epoch; its numbers go into the history. */
  readonly evaluate?: (context: {
    readonly epoch: number;
    readonly readState: Runner["readState"];
  }) => Readonly<Record<string, number>> | Promise<Readonly<Record<string, number>>>;
  readonly earlyStop?: EarlyStopOptions;
  /** After every step. `"stop"`, or a promise of it, ends the run in order, with a checkpoint. */
  readonly onStep?: (event: StepEvent) => unknown;
  /** After the epoch's checkpoint; `"stop"` as for `onStep`. A run killed between the two does not call it again. */
  readonly onEpoch?: (event: EpochEvent) => unknown;
  readonly checkpoint?: CheckpointOptions;
  /** Go on from the newest checkpoint in the folder, if there is one. Default false: a folder with checkpoints is refused. */
  readonly resume?: boolean;
  /**
   * What else the run follows from, such as a hash of parameters that are constants of the compiled step: a resumed run must say
   * the same. Default: nothing.
   */
  readonly identity?: string;
  /**
   * What a resumed run may have that the run did not have so far: `data` (32 samples, spread over all, are compared as one batch),
   * `program` (network, loss, optimiser and its settings; not the learning rate, which is fed) or `identity`. Default: nothing.
   */
  readonly resumeWithOther?: readonly Change[];
  /** Ends the run after the step it is in, with a checkpoint. */
  readonly signal?: AbortSignal;
}

/** What {@link train} gives. The trained state is in the runner. */
export interface TrainResult {
  readonly stopped: StopReason;
  /** Steps done since the start of the run, before a resume too. */
  readonly steps: number;
  readonly history: readonly EpochRecord[];
  /** The best epoch by the early stop's metric; null without one. */
  readonly best: { readonly epoch: number; readonly value: number } | null;
  /** The last checkpoint; null where none was written. */
  readonly checkpoint: string | null;
}

const callable = z.custom<(...args: never[]) => unknown>((value) => typeof value === "function", "must be a function");
/** Options that are objects are known by their methods. */
function having(methods: readonly string[], message: string) {
  return z.custom<object>(
    (value) => methods.every((name) => typeof (value as Record<string, unknown> | null)?.[name] === "function"),
    message,
  );
}
export const runnerOption = having(["run", "readState", "writeState"], "must be a runner: what device.compile gives");
export const datasetOption = having(["batch"], "must be a dataset: training.tensorDataset makes one of tensors");
const count = z.int().min(1);

/** Checks the plain part of {@link TrainOptions} and fills in the defaults. */
export const trainOptions = z.strictObject({
  runner: runnerOption,
  data: datasetOption,
  batchSize: count,
  epochs: count,
  generator: having(["split", "permutation", "state"], "must be a random generator: generator(seed)"),
  learningRate: z.union([z.number(), callable]).optional(),
  accumulate: count.default(1),
  countedBy: z.string().optional(),
  feeds: callable.optional(),
  shuffle: z.boolean().default(true),
  dropLast: z.boolean().default(false),
  prefetch: z.int().min(0).default(1),
  collect: z.array(z.string()).default([]),
  evaluate: callable.optional(),
  earlyStop: z
    .strictObject({
      metric: z.string(),
      direction: z.enum(["min", "max"]).default("min"),
      patience: count.default(5),
      minDelta: z.number().min(0).default(0),
      restoreBest: z.boolean().default(true),
    })
    .optional(),
  onStep: callable.optional(),
  onEpoch: callable.optional(),
  checkpoint: z
    .strictObject({
      folder: z.string().min(1),
      everySteps: count.optional(),
      everyEpochs: count.default(1),
      keep: count.default(2),
    })
    .optional(),
  resume: z.boolean().default(false),
  identity: z.string().optional(),
  resumeWithOther: z.array(z.enum(CHANGES)).default([]),
  signal: z.instanceof(AbortSignal).optional(),
});

/** Options with their defaults. */
export type CheckedOptions = z.output<typeof trainOptions> & TrainOptions;
