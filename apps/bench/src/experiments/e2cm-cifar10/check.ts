import assert from "node:assert/strict";
import type { E2cmCifar10Result } from "./schema.ts";

/** The counted quantities of the quick preset on the repository's subset. */
export function check({ backbones, rows, halvings, wall }: E2cmCifar10Result): string {
  // What PyTorch counts on the same 2,500 pictures with the same weights.
  const right = backbones.map(({ backbone, accuracy }) => [backbone, Math.round(accuracy * 2500)]);
  assert.deepEqual(right, [["resnet56", 2318]]);

  const cheapest = (metric: string) =>
    Math.min(
      ...rows
        .filter(
          (row) => row.choice === "aimed" && row.metric === metric && row.accuracy >= backbones[0]!.accuracy - 0.01,
        )
        .map((row) => row.macsFraction),
    );
  const [shared, euclidean] = [cheapest("sharedCovariance"), cheapest("euclidean")];
  assert.ok(shared <= 0.78, `shared covariance must keep within a point at 0.78 of the MACs, needs ${shared}`);
  assert.ok(shared < euclidean, `shared covariance (${shared}) must beat plain class means (${euclidean})`);

  for (const choice of ["guarded", "aimed", "paper"]) {
    for (const rule of ["normalised", "raw", "perSampleMaximum", "posterior"]) {
      assert.ok(
        rows.some((row) => row.choice === choice && row.rule === rule),
        `${rule}, ${choice}`,
      );
    }
  }
  for (const row of rows) {
    const shares = row.shares.reduce((sum, share) => sum + share, 0);
    const possible = Math.abs(shares - 1) < 1e-9 && row.macsFraction > 0 && row.accuracy > 0.05 && row.accuracy <= 1;
    assert.ok(possible, JSON.stringify(row));
  }
  // The promise is of new pictures; the other half is a sample of them, which the spread of 50 trials is allowed for.
  for (const { metric, asked, halvings: all, delta, guarded } of halvings) {
    const most = delta * all + 2 * Math.sqrt(delta * (1 - delta) * all);
    assert.ok(
      guarded.failed <= most,
      `${metric}: a loss of ${asked} was exceeded in ${guarded.failed} of ${all} halvings`,
    );
  }
  assert.deepEqual([...new Set(wall.map(({ batch }) => batch))], [1, 16, 64, 256]);
  const failed = halvings.reduce((sum, { guarded }) => sum + guarded.failed, 0);
  const trials = halvings.reduce((sum, { halvings: all }) => sum + all, 0);
  return `cheapest within a point, resnet56: ${shared.toFixed(3)} of the MACs, class means alone ${euclidean.toFixed(3)}; promises broken: ${failed} of ${trials}`;
}
