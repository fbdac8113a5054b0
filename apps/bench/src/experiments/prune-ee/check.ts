import assert from "node:assert/strict";
import type { PruneResult } from "./schema.ts";

/** Counted quantities of the quick preset. */
export function check({ rows, rounds, fraction, channels }: PruneResult): string {
  const left = (1 - fraction) ** rounds;
  for (const order of ["together", "sequential"]) {
    const own = rows.filter((row) => row.order === order);
    assert.equal(own.length, 7, `${order}: six early exits and the last`);
    for (const { sparsity } of own)
      assert.ok(Math.abs(1 - sparsity - left) < 1e-3, `${order}: ${sparsity} of the weights are 0`);
    assert.ok(own.at(-1)!.accuracy > 0.6, `${order}: the last exit is right in ${own.at(-1)!.accuracy}`);
    assert.ok(
      own.every((row, j) => j === 0 || row.macsFraction > own[j - 1]!.macsFraction),
      "costs increase",
    );
  }
  const pruned = channels.find(({ keep }) => keep < 1)!;
  assert.ok(pruned.macsFraction < 0.8 && pruned.accuracy > 0.4, "fewer channels, still a classifier");
  const last = rows.filter(({ order }) => order === "together").at(-1)!;
  return `pruning: ${(100 * last.sparsity).toFixed(1)} % zeros, last exit ${last.accuracy.toFixed(3)}; channels: ${pruned.macsFraction.toFixed(3)} of the MACs, ${pruned.accuracy.toFixed(3)} right`;
}
