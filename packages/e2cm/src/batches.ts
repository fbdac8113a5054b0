import { InputError, sizeOf, type Tensor, tensor } from "@exitkit/core-gpu";

/** Labelled pictures that go through the network together. */
export interface Batch {
  /** What the network takes, float32, first dimension n. */
  readonly x: Tensor;
  /** The n classes, whole numbers from 0 to k − 1. */
  readonly y: ArrayLike<number>;
}

/** A stream of labelled batches, of any sizes; every batch is done with before the next is asked for. */
export type Batches = AsyncIterable<Batch> | Iterable<Batch>;

/** Refuses a batch whose rows and labels do not fit each other or the number of classes. */
export function checkBatch(caller: string, { x, y }: Batch, classes: number, index: number): void {
  const n = x?.shape?.[0];
  if (n === undefined || x.dtype !== "float32") {
    const got = x === undefined ? "none" : `${x.dtype} [${x.shape?.join(", ")}]`;
    throw new InputError(caller, "x of every batch must be a float32 tensor [n, ...]", `${got} in batch ${index}`);
  }
  if (y?.length !== n) {
    throw new InputError(caller, `batch ${index} has ${n} rows and needs as many labels`, `${y?.length ?? "none"}`);
  }
  for (let i = 0; i < n; i++) {
    const label = y[i]!;
    if (Number.isInteger(label) && label >= 0 && label < classes) continue;
    throw new InputError(
      caller,
      `labels must be whole numbers from 0 to ${classes - 1}`,
      `${label} at row ${i} of batch ${index}`,
      "Set `classes` to the number of classes the labels have.",
    );
  }
}

const HELD_OUT_PICTURES = 5000;
const HELD_OUT_BYTES = 256e6;

/**
 * Sets every tenth batch of a stream aside (copies of it), up to 5,000 pictures or 256 MB, and lets the others through.
 *
 * @returns `heldOut` gives what was set aside, once `training` has been read to its end.
 */
export function holdOut(batches: Batches): { training: AsyncIterable<Batch>; heldOut: () => readonly Batch[] } {
  const kept: Batch[] = [];
  async function* training(): AsyncGenerator<Batch> {
    let index = 0;
    let pictures = 0;
    let bytes = 0;
    for await (const batch of batches) {
      const size = batch.x?.data?.byteLength ?? 0;
      const room = pictures + (batch.y?.length ?? 0) <= HELD_OUT_PICTURES && bytes + size <= HELD_OUT_BYTES;
      if (index++ % 10 === 9 && room && sizeOf(batch.x.shape) === batch.x.data.length) {
        const x = tensor("float32", batch.x.shape, (batch.x.data as Float32Array).slice());
        kept.push({ x, y: Array.from(batch.y) });
        pictures += batch.y.length;
        bytes += size;
      } else {
        yield batch;
      }
    }
  }
  return { training: training(), heldOut: () => kept };
}
