import { type Generator, tensor, type training } from "@exitkit/core-gpu";
import type { Pictures } from "../../data/pictures.ts";
import { pixelRows } from "./pixels.ts";

/** Which sample comes at which place of an endless stream: all samples in one random order, then in another, and so on. */
export type SampleOrder = (place: number) => number;

/** A {@link SampleOrder} of n samples that follows from the generator alone, wherever it is looked at first. */
export function sampleOrder(n: number, random: Generator): SampleOrder {
  const orders: Int32Array[] = [];
  return (place) => {
    const turn = Math.floor(place / n);
    while (orders.length <= turn) orders.push(random.permutation(n));
    return orders[turn]![place % n]!;
  };
}

/**
 * What one round of steps between two updates is trained on: the stream's next `size` pictures with their target
 * distribution, as inputs `x` [n, pixels] and `target` [n, k].
 *
 * @param targets p of all pictures, [n·k].
 * @param round From 0.
 */
export function roundDataset(
  pictures: Pictures,
  targets: Float32Array,
  order: SampleOrder,
  round: number,
  size: number,
): training.Dataset {
  const k = targets.length / pictures.n;
  return {
    size,
    batch(places) {
      const rows = Int32Array.from(places, (place) => order(round * size + place));
      const target = tensor("float32", [rows.length, k]);
      rows.forEach((row, at) => {
        target.data.set(targets.subarray(row * k, (row + 1) * k), at * k);
      });
      return { x: pixelRows(pictures, rows), target };
    },
  };
}
