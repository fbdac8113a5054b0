import type { Generator } from "@exitkit/core-gpu";
import type { Reals } from "../columns/column.ts";

/**
 * Marks the `count` rows with the largest keys; of those that tie at the last place, any, equally likely.
 *
 * @param marks `[n]`: set to 1 in the rows chosen.
 * @param rows Which rows take part, ascending.
 * @param keys `[n]` finite.
 * @returns The smallest key that was marked; null for none.
 */
export function markLargest(
  marks: Uint8Array,
  rows: Int32Array,
  keys: Reals,
  count: number,
  random: Generator,
): number | null {
  if (count <= 0) return null;
  const sorted = keys instanceof Float32Array ? new Float32Array(rows.length) : new Float64Array(rows.length);
  for (let at = 0; at < rows.length; at++) sorted[at] = keys[rows[at]!]!;
  sorted.sort();
  const least = sorted[Math.max(0, sorted.length - count)]!;
  // −0 sorts before 0 and equals it, so ties are counted by ===, not by place.
  let [above, ties] = [0, 0];
  for (const key of sorted) {
    if (key > least) above++;
    else if (key === least) ties++;
  }
  let wanted = Math.min(count, rows.length) - above;
  for (const row of rows) {
    const key = keys[row]!;
    if (key < least) continue;
    if (key > least) {
      marks[row] = 1;
      continue;
    }
    // Each of the ties that are left is taken with probability wanted ÷ ties: all choices of them are equally likely.
    if (wanted === ties || (wanted > 0 && random.uniform() * ties < wanted)) {
      marks[row] = 1;
      wanted--;
    }
    ties--;
  }
  return least;
}
