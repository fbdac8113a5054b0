import { z } from "zod";
import type { Runner } from "../device/runner.ts";
import { InputError } from "../errors.ts";
import { parseOptions } from "../options.ts";
import { generator } from "../random.ts";
import type { Tensor } from "../tensor.ts";
import { until } from "../until.ts";
import { epochBatches } from "./batches.ts";
import { makeCollector } from "./collect.ts";
import type { Dataset } from "./dataset.ts";
import { datasetOption, runnerOption } from "./options.ts";

/** Options of {@link predict}. */
export interface PredictOptions {
  /** A compiled program; its state is used as it is. */
  readonly runner: Runner;
  readonly data: Dataset;
  readonly batchSize: number;
  /** Names of the outputs; each must be [n, ...]. Default: all that are not state. */
  readonly outputs?: readonly string[];
  /** As in `train`. Default 1. */
  readonly prefetch?: number;
  /** Ends the call between two batches: it rejects with the signal's reason, the device can be used on. */
  readonly signal?: AbortSignal;
}

const schema = z.strictObject({
  runner: runnerOption,
  data: datasetOption,
  batchSize: z.int().min(1),
  outputs: z.array(z.string()).min(1).optional(),
  prefetch: z.int().min(0).default(1),
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * Runs a program on all samples of a dataset, in order and batch by batch, and gives its outputs for all of them.
 *
 * @returns Each output, [n, ...] over the whole dataset.
 * @throws InputError on a wrong option, an output without a row for each sample, or as the runner does.
 */
export async function predict(options: PredictOptions): Promise<Record<string, Tensor>> {
  const caller = "core-gpu.training.predict";
  const { batchSize, outputs, prefetch, signal } = parseOptions(caller, schema, options);
  const { runner, data } = options;
  const plan = { batchSize, dropLast: false, shuffle: false, prefetch };
  let collector = outputs === undefined ? null : makeCollector(outputs, data.size);
  for await (const { batch, indices } of until(signal, epochBatches(data, plan, generator(0), 0))) {
    const given = await runner.run(batch, outputs === undefined ? {} : { outputs });
    collector ??= makeCollector(Object.keys(given), data.size);
    collector.add(given, indices);
  }
  if (collector === null) throw new InputError(caller, "the dataset must have samples", `${data.size}`);
  return { ...collector.result().outputs };
}
