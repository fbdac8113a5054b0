import { generator, InputError, type training } from "@exitkit/core-gpu";

/** Samples read at a time. */
const BATCH = 250;

/**
 * The classes of all samples of a dataset that is to be scored.
 *
 * @throws InputError where batches have no labels, they are out of range, or the dataset changes its samples at random.
 */
export async function labelsOf(
  caller: string,
  data: training.Dataset,
  classes: number,
  signal: AbortSignal | undefined,
): Promise<Int32Array<ArrayBuffer>> {
  const labels = new Int32Array(data.size);
  for (let from = 0; from < data.size; from += BATCH) {
    signal?.throwIfAborted();
    const indices = Int32Array.from({ length: Math.min(BATCH, data.size - from) }, (_, i) => from + i);
    const { x, y } = await data.batch(indices, generator(1));
    if (x === undefined || y === undefined || y.data.length !== indices.length) {
      const actual = x === undefined ? "no x" : y === undefined ? "no y" : `y [${y.shape.join(", ")}]`;
      throw new InputError(caller, "batches must be { x, y } with one label for each sample", actual);
    }
    for (let i = 0; i < indices.length; i++) {
      const label = Number(y.data[i]);
      if (label >= 0 && label < classes && Number.isInteger(label)) {
        labels[from + i] = label;
        continue;
      }
      const expectation = `labels must be 0 … ${classes - 1}, as the network has ${classes} classes`;
      throw new InputError(caller, expectation, `${label} for sample ${from + i}`);
    }
    if (from === 0) await checkSame(caller, data, indices, x.data);
  }
  return labels;
}

/** Scores of samples that were cropped and mirrored at random would be scores of luck. */
async function checkSame(
  caller: string,
  data: training.Dataset,
  indices: Int32Array,
  before: ArrayLike<number | bigint>,
): Promise<void> {
  const { x } = await data.batch(indices, generator(2));
  for (let i = 0; i < before.length; i++) {
    if (Object.is(before[i], x!.data[i])) continue;
    const fix = "Pass the same samples without augmentation as the option clean.";
    throw new InputError(caller, "samples must be scored without augmentation", "samples that change at random", fix);
  }
}
