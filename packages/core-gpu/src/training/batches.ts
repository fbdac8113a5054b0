import type { Generator } from "../random.ts";
import type { Batch, Dataset } from "./dataset.ts";

/** One batch of an epoch, ready to be run. */
export interface PreparedBatch {
  /** Which samples it holds. */
  readonly indices: Int32Array;
  readonly batch: Batch;
  /** For what else the step needs at random (dropout masks); of this batch alone. */
  readonly generator: Generator;
}

/** How an epoch is cut into batches. */
export interface EpochPlan {
  readonly batchSize: number;
  /** Leave out the samples that do not fill a batch. */
  readonly dropLast: boolean;
  readonly shuffle: boolean;
  /** How many batches are asked for before they are needed. */
  readonly prefetch: number;
}

/** Number of batches of an epoch over `size` samples. */
export function batchCount(size: number, { batchSize, dropLast }: EpochPlan): number {
  return dropLast ? Math.floor(size / batchSize) : Math.ceil(size / batchSize);
}

/**
 * The batches of one epoch from the `first` on. What each holds follows from the generator alone, wherever one starts and
 * however many are prepared ahead: it gives the order and then one generator for each batch.
 */
export async function* epochBatches(
  data: Dataset,
  plan: EpochPlan,
  generator: Generator,
  first: number,
): AsyncGenerator<PreparedBatch> {
  const order = plan.shuffle
    ? generator.permutation(data.size)
    : Int32Array.from({ length: data.size }, (_, index) => index);
  const count = batchCount(data.size, plan);
  for (let skipped = 0; skipped < first; skipped++) generator.split();

  const pending: Promise<PreparedBatch>[] = [];
  let next = first;
  const prepare = async (): Promise<PreparedBatch> => {
    const indices = order.slice(next * plan.batchSize, (next + 1) * plan.batchSize);
    next++;
    const own = generator.split();
    const augmentation = own.split();
    return { indices, batch: await data.batch(indices, augmentation), generator: own };
  };
  const ask = (): void => {
    const preparing = prepare();
    // It is awaited later, or never when the step before it fails.
    preparing.catch(() => undefined);
    pending.push(preparing);
  };
  for (let at = first; at < count; at++) {
    while (next < count && pending.length <= plan.prefetch) ask();
    yield await pending.shift()!;
  }
}
