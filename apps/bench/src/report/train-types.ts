import { z } from "zod";
import { dataSchema } from "../experiments/result.ts";
import { common, list } from "./common-types.ts";

const epochRow = z.object({
  seed: z.number(),
  /** From 1. */
  epoch: z.number(),
  /** After the epoch's last step. */
  learningRate: z.number(),
  /** Mean over the epoch's steps, on augmented pictures, while the network changed. */
  trainLoss: z.number(),
  trainAccuracy: z.number(),
  testLoss: z.number(),
  testAccuracy: z.number(),
  /** Spent on this epoch's steps. */
  seconds: z.number(),
});

/** result.json of train-cifar10. Accuracies are fractions of 1. */
export const trainCifar10Schema = z.object({
  experiment: z.literal("train-cifar10"),
  ...common,
  ranOn: z.string().optional(),
  data: dataSchema.optional(),
  recipe: z.record(z.string(), z.number()).default({}),
  /** One row for every seed. */
  rows: list(
    z.object({
      network: z.string(),
      seed: z.number(),
      pictures: z.number(),
      epochs: z.number(),
      trainLoss: z.number(),
      testLoss: z.number(),
      testAccuracy: z.number(),
      seconds: z.number(),
      imagesPerSecond: z.number(),
    }),
  ),
  curve: list(epochRow),
  /** Test accuracy over the seeds; where there are several. */
  spread: z
    .object({ seeds: z.number(), mean: z.number(), deviation: z.number(), least: z.number(), most: z.number() })
    .optional(),
});

/** result.json of train-step. */
export const trainStepSchema = z.object({
  experiment: z.literal("train-step"),
  ...common,
  rows: list(
    z.object({
      model: z.string(),
      batch: z.number(),
      device: z.string(),
      /** Pictures or sequences. */
      imagesPerSecond: z.number(),
      /** Forward and backward: six FLOPs for every multiply-accumulate of the forward pass. */
      gflops: z.number(),
      unit: z.string().default("pictures"),
      stepMs: z.number(),
      compileSeconds: z.number(),
      runs: z.number(),
    }),
  ),
});

/** result.json of `bench run train-cifar10`. */
export type TrainCifar10Result = z.output<typeof trainCifar10Schema>;
/** result.json of `bench run train-step`. */
export type TrainStepResult = z.output<typeof trainStepSchema>;
