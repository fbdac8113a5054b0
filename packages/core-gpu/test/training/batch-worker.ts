// The worker thread of a test: serves noisy numbers, or never, or fails.
import { workerData } from "node:worker_threads";
import { serveBatches } from "../../src/training/worker.ts";
import { noisy } from "./noisy.ts";

if (workerData === "throws") throw new Error("no data here");
serveBatches(workerData === "hangs" ? { size: 1, batch: () => new Promise(() => undefined) } : noisy());
