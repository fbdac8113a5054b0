// The worker thread of a test: serves noisy numbers, counting the batches it has made, or never serves, or fails.
import { workerData } from "node:worker_threads";
import type { Dataset } from "../../src/training/dataset.ts";
import { serveBatches } from "../../src/training/worker.ts";
import { noisy } from "./noisy.ts";

const { mode, made } = workerData as { readonly mode: string; readonly made: Int32Array };
if (mode === "throws") throw new Error("no data here");
const data = noisy();
const counting: Dataset = {
  size: data.size,
  batch: async (indices, random) => {
    const batch = await data.batch(indices, random);
    Atomics.add(made, 0, 1);
    Atomics.notify(made, 0);
    return batch;
  },
};
serveBatches(mode === "hangs" ? { size: 1, batch: () => new Promise(() => undefined) } : counting);
