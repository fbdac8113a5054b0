import { floats } from "../program/operator.ts";
import type { Tensor } from "../tensor.ts";
import type { Position } from "./progress.ts";

/** A training run that cannot go on: the loss or a parameter is no longer a number, or the device or the data failed. */
export class TrainingError extends Error {
  override readonly name = "TrainingError";
  /** Number of the step that failed, counted from 0 over the whole run. */
  readonly step: number;
  /** From 0. */
  readonly epoch: number;
  /** The step's place in the epoch, from 0. */
  readonly batch: number;
  /** The first parameter with a NaN or an infinity after that step; null where all are finite. */
  readonly parameter: string | null;
  /** The operator that first gave NaN or infinity from finite numbers, with what it was given; null where it is not known. */
  readonly source: string | null;
  /** The last checkpoint, whose numbers are all finite; null where there is none. */
  readonly checkpoint: string | null;

  constructor(
    what: string,
    position: Position,
    details: {
      readonly parameter: string | null;
      readonly checkpoint: string | null;
      readonly source?: string | null;
      readonly cause?: unknown;
    },
  ) {
    const { step, epoch, batch } = position;
    const parameter =
      details.parameter === null ? "" : ` The first parameter that is not finite: "${details.parameter}".`;
    const source = details.source == null ? "" : ` It began with ${details.source}.`;
    const last =
      details.checkpoint === null ? "There is no checkpoint." : `The last good checkpoint: ${details.checkpoint}`;
    super(
      `core-gpu.training.train: ${what} in step ${step} (epoch ${epoch}, batch ${batch}).${parameter}${source} ${last}`,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.step = step;
    this.epoch = epoch;
    this.batch = batch;
    this.parameter = details.parameter;
    this.source = details.source ?? null;
    this.checkpoint = details.checkpoint;
  }
}

/** Where a run is, as far as its failures tell. */
interface Standing {
  readonly position: Position;
  readonly checkpoint: string | null;
}

/** Does part of a step; where that fails (a device may be gone), the run's error says so, with the step and the checkpoint. */
export async function attempt<T>(
  { position, checkpoint }: Standing,
  what: string,
  work: () => T | Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const message = `${what} (${cause instanceof Error ? cause.message : String(cause)})`;
    throw new TrainingError(message, position, { parameter: null, checkpoint, cause });
  }
}

/** The first name, in order, whose tensor holds a NaN or an infinity; null where none does. */
export function firstNotFinite(state: Readonly<Record<string, Tensor>>): string | null {
  for (const [name, { dtype, data }] of Object.entries(state)) {
    if (floats.includes(dtype) && (data as Float32Array).some((value) => !Number.isFinite(value))) return name;
  }
  return null;
}
