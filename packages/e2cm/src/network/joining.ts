import { sizeOf, tensor } from "@exitkit/core-gpu";
import type { CheckedBatch } from "./batches.ts";

/** Joins samples one by one to batches as large as the largest that they come from; one buffer serves them all. */
export function joining() {
  let x = tensor("float32", [0]);
  let y: number[] = [];
  return {
    /** From now on batches are at least as large as this one. */
    makeRoomFor(batch: CheckedBatch): void {
      const n = batch.y.length;
      if (n <= x.shape[0]!) return;
      const waiting = x.data.subarray(0, (y.length * batch.x.data.length) / n);
      x = tensor("float32", batch.x.shape);
      x.data.set(waiting);
    },
    /** Copies a sample behind those that wait; gives whether the batch is full. */
    add(values: Float32Array, label: number): boolean {
      x.data.set(values, y.length * values.length);
      y.push(label);
      return y.length === x.shape[0];
    },
    /** The samples that wait, as one batch; none where there are none. Its memory is used again. */
    *take(): Iterable<CheckedBatch> {
      const n = y.length;
      if (n === 0) return;
      const shape = [n, ...x.shape.slice(1)];
      yield { x: { ...x, shape, data: x.data.subarray(0, sizeOf(shape)) }, y };
      y = [];
    },
  };
}
