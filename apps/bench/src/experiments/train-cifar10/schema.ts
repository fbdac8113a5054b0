import { z } from "zod";
import { amount } from "../../measuring/ranges.ts";
import { epochSchema, trainedSchema } from "../../training/train-network.ts";
import { dataSchema, list, resultSchema } from "../result.ts";

/** result.json of train-cifar10. */
export const schema = resultSchema({
  data: dataSchema.optional(),
  recipe: z.record(z.string(), z.number()).default({}),
  /** One row for every seed. */
  rows: list(trainedSchema),
  curve: list(epochSchema),
  /** Test accuracy over the seeds; where there are several. */
  spread: z
    .object({ seeds: amount, mean: z.number(), deviation: z.number(), least: z.number(), most: z.number() })
    .optional(),
});

export type TrainCifar10Result = z.output<typeof schema>;

/** What the peer in PyTorch printed, as docs/results holds it. */
export const peerSchema = z.object({
  runtime: z.string(),
  rows: list(trainedSchema.partial()),
  curve: list(epochSchema.partial()),
});
