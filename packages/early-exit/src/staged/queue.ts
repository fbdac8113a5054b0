import { InputError, type Tensor, tensor } from "@exitkit/core-gpu";

/** Calls that may wait: each holds a copy of its batch. */
const MOST_WAITING = 256;

/** Runs what it is given one after the other, each with a copy of its batch taken when it was asked for. */
export interface BatchQueue {
  /**
   * @param signal Takes a call that still waits out of the queue.
   * @throws InputError when too many wait already.
   */
  run<T>(caller: string, batch: Tensor, signal: AbortSignal | undefined, work: (own: Tensor) => Promise<T>): Promise<T>;
  /** Waits for all that was asked for. */
  settled(): Promise<void>;
}

/** Makes a queue; buffers of one size are used again, as the first touch of fresh memory takes longer than the copy. */
export function batchQueue(): BatchQueue {
  let last: Promise<unknown> = Promise.resolve();
  let waiting = 0;
  let spare: Tensor["data"] | undefined;
  const copyOf = (batch: Tensor): Tensor => {
    const fits =
      spare !== undefined && spare.length === batch.data.length && spare.constructor === batch.data.constructor;
    const data = fits ? spare! : tensor(batch.dtype, batch.shape).data;
    spare = undefined;
    (data as Float32Array).set(batch.data as Float32Array);
    return { ...batch, data } as Tensor;
  };
  return {
    run: async (caller, batch, signal, work) => {
      signal?.throwIfAborted();
      if (waiting >= MOST_WAITING) {
        const fix = "Await answers before asking for more, or put samples together into larger batches.";
        throw new InputError(caller, `at most ${MOST_WAITING} calls may wait`, `one more`, fix);
      }
      waiting++;
      const own = copyOf(batch);
      const result = last.then(() => {
        signal?.throwIfAborted();
        return work(own);
      });
      last = result.catch(() => undefined);
      try {
        return await result;
      } finally {
        waiting--;
        spare = own.data;
      }
    },
    settled: async () => {
      await last;
    },
  };
}
