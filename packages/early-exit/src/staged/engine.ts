import type { Session, Tensor } from "@exitkit/core-gpu";

/** What one exit said about the rows that reached it, in the order of the batch. */
export interface StageAnswers {
  readonly confidences: Float32Array;
  readonly predictions: BigInt64Array;
}

/** A way to run a network stage by stage. Runs must not overlap. */
export interface Engine {
  /**
   * @param batch `[n, ...]`, n ≥ 1
   * @param thresholds `[e − 1]`
   * @returns One entry for each stage that ran (stages that did not may be left out or empty).
   */
  run(batch: Tensor, thresholds: Float32Array): Promise<readonly StageAnswers[]>;
  release(): Promise<void>;
}

/** Whether a row goes on: its confidence does not exceed the threshold (NaN exceeds nothing). */
export function goesOn(confidence: number, threshold: number): boolean {
  return !(confidence > threshold);
}

/** The rows that go on, ascending. */
export function keptRows(confidences: Float32Array, threshold: number): Int32Array {
  const kept = new Int32Array(confidences.length);
  let count = 0;
  for (let row = 0; row < confidences.length; row++) {
    if (goesOn(confidences[row]!, threshold)) kept[count++] = row;
  }
  return kept.subarray(0, count);
}

/** Waits until all have been released, whatever happens to one; then throws what the first that failed threw. */
export async function releaseAll(owned: readonly Pick<Session, "release">[]): Promise<void> {
  const results = await Promise.allSettled(owned.map((one) => one.release()));
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

/** What is loaded when it is first asked for, and again if that failed. */
interface Lazy<T> {
  get(): Promise<T>;
  /** Releases what was loaded, if anything was. */
  release(): Promise<void>;
}

export function lazy<T>(load: () => Promise<T>, release: (loaded: T) => Promise<void>): Lazy<T> {
  let loading: Promise<T> | undefined;
  return {
    get: () => {
      loading ??= load().catch((error: unknown) => {
        loading = undefined;
        throw error;
      });
      return loading;
    },
    release: async () => {
      const loaded = loading;
      // A load that failed left nothing, and its error went to who asked.
      if (loaded !== undefined) await loaded.then(release, () => undefined);
    },
  };
}
