import { InputError } from "../errors.ts";
import { sizeOf, type Tensor, tensor } from "../tensor.ts";

/** Per-sample outputs of an epoch, by the sample's index in the dataset, whatever order they were seen in. */
export interface Collected {
  /** [n, ...] each; rows of samples that were not seen are 0. */
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** bool [n]: which samples were seen (all, unless `dropLast` left some out). */
  readonly seen: Tensor<"bool">;
}

/** Collects outputs of shape [rows, ...] by sample. */
export interface Collector {
  /** @throws InputError where an output has not one row for each sample of the batch. */
  add(batch: Readonly<Record<string, Tensor>>, indices: Int32Array): void;
  /** What is collected so far. */
  result(): Collected;
}

/**
 * Makes a collector of the outputs `names` of a dataset of `size` samples.
 *
 * @param before What was collected up to here, to go on with.
 */
export function makeCollector(names: readonly string[], size: number, before?: Collected): Collector {
  const outputs: Record<string, Tensor> = { ...before?.outputs };
  const seen = before?.seen ?? tensor("bool", [size]);
  return {
    add(batch, indices) {
      for (const name of names) {
        const { dtype, shape, data } = batch[name]!;
        const [count, ...rest] = shape;
        if (count !== indices.length) {
          const expectation = `the collected output "${name}" must have a row for each sample`;
          const actual = `[${shape.join(", ")}] for a batch of ${indices.length}`;
          throw new InputError("core-gpu.training", expectation, actual);
        }
        outputs[name] ??= tensor(dtype, [size, ...rest]) as Tensor;
        const width = sizeOf(rest);
        const target = outputs[name].data as Float32Array;
        indices.forEach((sample, row) => {
          target.set((data as Float32Array).subarray(row * width, (row + 1) * width), sample * width);
        });
      }
      for (const sample of indices) seen.data[sample] = 1;
    },
    result: () => ({ outputs, seen }),
  };
}
