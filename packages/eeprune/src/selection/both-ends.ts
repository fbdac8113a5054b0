import type { Generator } from "@exitkit/core-gpu";
import type { Reals } from "../columns/column.ts";

/**
 * The samples between both ends: of `rows` the `cut` hardest go, as they may be noise, then the easiest, as they say little that others
 * do not, until `keep` are left. Ties at random.
 *
 * @param hardness `[n]`, the hardest largest.
 * @returns The rows that stay, ascending.
 */
export function bothEnds(rows: Int32Array, hardness: Reals, keep: number, cut: number, random: Generator): Int32Array {
  const order = random.shuffle([...rows]).sort((a, b) => hardness[b]! - hardness[a]!);
  const hardest = Math.min(cut, rows.length - keep);
  return Int32Array.from(order.slice(hardest, hardest + keep)).sort();
}
