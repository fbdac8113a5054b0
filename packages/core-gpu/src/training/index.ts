export { randomCrop, randomFlip } from "./augment.ts";
export type { Checkpoint } from "./checkpoint.ts";
export { listCheckpoints, readCheckpoint } from "./checkpoint.ts";
export type { Collected } from "./collect.ts";
export type { Batch, Dataset, TensorDatasetOptions } from "./dataset.ts";
export { takeRows, tensorDataset } from "./dataset.ts";
export { TrainingError } from "./failure.ts";
export type {
  CheckpointOptions,
  EarlyStopOptions,
  EpochEvent,
  StepEvent,
  TrainOptions,
  TrainResult,
} from "./options.ts";
export type { PredictOptions } from "./predict.ts";
export { predict } from "./predict.ts";
export type { EpochRecord, Position, StopReason } from "./progress.ts";
export { train } from "./train.ts";
export type { WorkerDataset } from "./worker.ts";
export { serveBatches, workerDataset } from "./worker.ts";
