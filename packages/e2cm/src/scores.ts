import { addTaps, type Device } from "@exitkit/core-gpu";
import type { ExitModel } from "@exitkit/early-exit";
import { type Batches, checkBatch } from "./batches.ts";

/** What every exit scored for every sample of a data set. */
export interface ScoreRecord {
  readonly n: number;
  /** k: number of classes. */
  readonly classes: number;
  /** `[e][n·k]`, row-major: log posteriors (shared covariance), raw distances (Euclidean), logits (the full network). */
  readonly scores: readonly Float32Array[];
  /** `[n]`. */
  readonly labels: Int32Array;
}

/**
 * Runs the whole network once over labelled batches and keeps what every exit scores; nothing leaves early.
 *
 * @throws InputError on a bad batch.
 */
export async function recordScores(
  caller: string,
  device: Device,
  exitModel: ExitModel,
  classes: number,
  batches: Batches,
  onProgress?: (pictures: number) => void,
): Promise<ScoreRecord> {
  const names = exitModel.exits.map((exit) => exit.scores!);
  const session = await device.load(addTaps(exitModel.model, names));
  const parts: Float32Array[][] = names.map(() => []);
  const labels: number[] = [];
  let index = 0;
  try {
    for await (const batch of batches) {
      checkBatch(caller, batch, classes, index++);
      const results = await session.run({ [exitModel.input]: batch.x }, { outputs: [...new Set(names)] });
      names.forEach((name, exit) => {
        parts[exit]!.push(results[name]!.data as Float32Array);
      });
      for (let i = 0; i < batch.y.length; i++) labels.push(batch.y[i]!);
      onProgress?.(labels.length);
    }
  } finally {
    await session.release();
  }
  return { n: labels.length, classes, scores: parts.map(joined), labels: Int32Array.from(labels) };
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
