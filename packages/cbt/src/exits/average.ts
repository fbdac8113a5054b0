import { ops, type Value } from "@exitkit/core-gpu";

/** Averages over squares around each pixel, of what lies inside; one axis after the other, which gives the same. */
export function average(x: Value, side: number): Value {
  if (side === 1) return x;
  const half = (side - 1) / 2;
  const shared = { stride: 1, countPadding: false };
  const down = ops.averagePool(x, { kernel: [side, 1], padding: [half, 0], ...shared });
  return ops.averagePool(down, { kernel: [1, side], padding: [0, half], ...shared });
}
