import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import type { Generator } from "../random.ts";
import { asTensor, type RuntimeTensor, sizeOf, type Tensor } from "../tensor.ts";

/** What a step is fed, by input name; tensors of one row for each sample. */
export type Batch = Readonly<Record<string, Tensor>>;

/** Samples to train on or to judge with: how many there are, and how a batch of them is made. */
export interface Dataset {
  /** Number of samples, n. */
  readonly size: number;
  /**
   * Makes a batch. It must depend on nothing but its arguments, so that a run that is resumed sees the same batches.
   *
   * @param indices Which samples, each 0 … n − 1, in order.
   * @param generator For augmentation; of this batch alone.
   */
  batch(indices: Int32Array, generator: Generator): Batch | Promise<Batch>;
}

/** Options of {@link tensorDataset}. */
export interface TensorDatasetOptions {
  /** Changes each batch (flips, crops, noise), drawing from the generator it gets. Default: not at all. */
  readonly augment?: (batch: Batch, generator: Generator) => Batch | Promise<Batch>;
}

/**
 * A dataset over tensors in memory: a batch is the given rows of each.
 *
 * @param given Tensors by the names of the program's inputs; all with n rows. ONNX Runtime's own will do.
 * @throws InputError where there are no tensors, or they have no rows or different numbers of them.
 * @example
 * ```ts
 * import { tensor, training } from "@exitkit/core-gpu";
 * const data = training.tensorDataset({ x: tensor("float32", [3, 2], [0, 0, 1, 1, 2, 2]), y: tensor("int64", [3], [0, 1, 2]) });
 * console.assert(data.size === 3);
 * ```
 */
export function tensorDataset(
  given: Readonly<Record<string, Tensor | RuntimeTensor>>,
  options: TensorDatasetOptions = {},
): Dataset {
  const caller = "core-gpu.training.tensorDataset";
  checkArguments(caller, { tensors: [given, "an object"] });
  const tensors = Object.fromEntries(Object.entries(given).map(([name, value]) => [name, asTensor(value)]));
  checkArguments(caller, { tensors: [tensors, "a record of tensors"] });
  const [first, ...others] = Object.entries(tensors);
  const size = first?.[1].shape[0];
  if (first === undefined || size === undefined || size < 1) {
    const actual = first === undefined ? "none" : `"${first[0]}" of shape [${first[1].shape.join(", ")}]`;
    throw new InputError(caller, "tensors of one row for each sample are needed", actual);
  }
  for (const [name, { shape }] of others) {
    if (shape[0] === size) continue;
    throw new InputError(caller, `all tensors must have ${size} rows, as "${first[0]}"`, `${shape[0]} in "${name}"`);
  }
  return {
    size,
    batch(indices, generator) {
      const batch = Object.fromEntries(
        Object.entries(tensors).map(([name, whole]) => [name, takeRows(whole, indices)]),
      );
      return options.augment === undefined ? batch : options.augment(batch, generator);
    },
  };
}

/** The given rows of a tensor, copied. @throws InputError on a row that it does not have. */
export function takeRows<T extends Tensor>(whole: T, indices: Int32Array): T {
  checkArguments("core-gpu.training.takeRows", {
    whole: [whole, "a tensor"],
    indices: [indices, "numbers or bigints"],
  });
  const [size, ...rest] = whole.shape as [number, ...number[]];
  const width = sizeOf(rest);
  const data = new (whole.data.constructor as Float32ArrayConstructor)(indices.length * width);
  const source = whole.data as Float32Array;
  indices.forEach((row, at) => {
    if (!(row >= 0 && row < size))
      throw new InputError("core-gpu.training.takeRows", `rows 0 to ${size - 1}`, `${row}`);
    data.set(source.subarray(row * width, (row + 1) * width), at * width);
  });
  return { ...whole, shape: [indices.length, ...rest], data };
}
