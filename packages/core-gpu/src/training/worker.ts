import { type MessagePort, parentPort, type Worker } from "node:worker_threads";
import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import { type Generator, generator } from "../random.ts";
import type { Batch, Dataset } from "./dataset.ts";

interface Request {
  readonly id: number;
  readonly indices: Int32Array;
  readonly state: readonly number[];
}

type Answer =
  | { readonly kind: "ready"; readonly size: number }
  | { readonly kind: "batch"; readonly id: number; readonly batch: Batch }
  | { readonly kind: "failed"; readonly id: number; readonly message: string };

/** A dataset whose batches another thread makes. */
export interface WorkerDataset extends Dataset {
  /** Ends the worker. */
  close(): Promise<void>;
}

/**
 * Makes the batches of a dataset in the worker thread that calls this; {@link workerDataset} is the other end.
 *
 * @param port What the requests come through. Default: the thread's own.
 * @throws InputError when called in the main thread without a port.
 */
export function serveBatches(data: Dataset, port: MessagePort | null = parentPort): void {
  checkArguments("core-gpu.training.serveBatches", { data: [data, { size: "a number", batch: "a function" }] });
  if (port === null) {
    throw new InputError("core-gpu.training.serveBatches", "a worker thread must call this", "the main thread");
  }
  const send = (answer: Answer, transfer: ArrayBuffer[] = []) => port.postMessage(answer, transfer);
  port.on("message", async ({ id, indices, state }: Request) => {
    try {
      const batch = await data.batch(indices, generator(state));
      // A copy: what is sent away is gone here, and the batch may be a view into the dataset.
      const copies = Object.entries(batch).map(
        ([name, value]) => [name, { ...value, data: value.data.slice() }] as const,
      );
      send(
        { kind: "batch", id, batch: Object.fromEntries(copies) as Batch },
        copies.map(([, { data }]) => data.buffer as ArrayBuffer),
      );
    } catch (error) {
      send({ kind: "failed", id, message: error instanceof Error ? error.message : String(error) });
    }
  });
  send({ kind: "ready", size: data.size });
}

/**
 * A dataset made by a worker thread that calls {@link serveBatches}. A training step blocks the thread it runs on, so only
 * then does the preparation of the next batch overlap the step.
 *
 * @param worker A worker of the caller's, just started: `new Worker(new URL("./batches.js", import.meta.url))`.
 * @throws InputError when the worker ends, or fails to make a batch (its message is quoted).
 */
export async function workerDataset(worker: Worker): Promise<WorkerDataset> {
  const caller = "core-gpu.training.workerDataset";
  checkArguments(caller, { worker: [worker, { on: "a function", postMessage: "a function" }] });
  const waiting = new Map<number, { resolve(batch: Batch): void; reject(error: Error): void }>();
  let ended: InputError | undefined;
  let asked = 0;
  const size = await new Promise<number>((resolve, reject) => {
    const end = (actual: string, cause?: unknown): void => {
      ended ??= new InputError(caller, "the worker must go on until it is closed", actual, undefined, cause);
      reject(ended);
      for (const { reject: fail } of waiting.values()) fail(ended);
      waiting.clear();
    };
    worker.on("error", (error) => end(`the error "${error instanceof Error ? error.message : error}"`, error));
    worker.on("exit", (code) => end(`its end with code ${code}`));
    worker.on("message", (answer: Answer) => {
      if (answer.kind === "ready") {
        resolve(answer.size);
        return;
      }
      const request = waiting.get(answer.id);
      waiting.delete(answer.id);
      if (answer.kind === "batch") request?.resolve(answer.batch);
      else request?.reject(new InputError(caller, "the worker must make the batch", `the error "${answer.message}"`));
    });
  });
  return {
    size,
    batch: (indices: Int32Array, random: Generator) =>
      new Promise<Batch>((resolve, reject) => {
        if (ended !== undefined) {
          reject(ended);
          return;
        }
        const id = asked++;
        waiting.set(id, { resolve, reject });
        worker.postMessage({ id, indices, state: random.state() } satisfies Request);
      }),
    close: async () => {
      await worker.terminate();
    },
  };
}
