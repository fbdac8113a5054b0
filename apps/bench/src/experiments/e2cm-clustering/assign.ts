import type { Runner } from "@exitkit/core-gpu";
import { training } from "@exitkit/core-gpu";
import type { Pictures } from "../../data/pictures.ts";
import { pixelDataset } from "./pixels.ts";

/** Soft assignments of all pictures and the cluster each belongs to most. */
export interface Assignments {
  /** q, [n·k], row by row. */
  readonly q: Float32Array;
  /** [n] */
  readonly labels: Int32Array;
}

/** Pictures a run; larger ones are no faster. */
export const PASS_BATCH = 500;

/**
 * Assigns pictures to clusters.
 *
 * @param runner A compiled `clusterProgram` with its parameters.
 */
export async function assign(runner: Runner, pictures: Pictures): Promise<Assignments> {
  const { scores } = await training.predict({
    runner,
    data: pixelDataset(pictures),
    batchSize: PASS_BATCH,
    outputs: ["scores"],
  });
  return assignmentsOf(scores!.data as Float32Array, scores!.shape[1]!);
}

/** Softmax and arg max of scores [n·k]. */
export function assignmentsOf(scores: Float32Array, k: number): Assignments {
  const q = new Float32Array(scores.length);
  const labels = new Int32Array(scores.length / k);
  for (let row = 0; row < labels.length; row++) {
    const own = scores.subarray(row * k, (row + 1) * k);
    let best = 0;
    for (let j = 1; j < k; j++) if (own[j]! > own[best]!) best = j;
    let sum = 0;
    for (let j = 0; j < k; j++) sum += Math.exp(own[j]! - own[best]!);
    for (let j = 0; j < k; j++) q[row * k + j] = Math.exp(own[j]! - own[best]!) / sum;
    labels[row] = best;
  }
  return { q, labels };
}
