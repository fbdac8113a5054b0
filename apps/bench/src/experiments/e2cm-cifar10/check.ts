import assert from "node:assert/strict";
import type { E2cmCifar10Result } from "./schema.ts";

/** The counted quantities of the quick preset on the repository's subset. */
export function check({ backbones, rows, full, wall }: E2cmCifar10Result): string {
  // What PyTorch counts on the same 2,500 pictures with the same weights.
  const right = backbones.map(({ backbone, accuracy }) => [backbone, Math.round(accuracy * 2500)]);
  assert.deepEqual(right, [["resnet56", 2318]]);

  const sound = rows.filter(({ backbone, protocol }) => backbone === "resnet56" && protocol === "sound");
  const cheapest = (metric: string) =>
    Math.min(
      ...sound
        .filter((row) => row.metric === metric && row.accuracy >= full!.accuracy - 0.01)
        .map((row) => row.macsFraction),
    );
  const [shared, euclidean] = [cheapest("sharedCovariance"), cheapest("euclidean")];
  assert.ok(shared <= 0.78, `shared covariance must keep within a point at 0.78 of the MACs, needs ${shared}`);
  assert.ok(shared < euclidean, `shared covariance (${shared}) must beat plain class means (${euclidean})`);

  for (const protocol of ["paper", "sound"]) {
    for (const rule of ["normalised", "raw", "perSampleMaximum", "posterior"]) {
      assert.ok(
        rows.some((row) => row.protocol === protocol && row.rule === rule),
        `${rule} under ${protocol}`,
      );
    }
  }
  for (const row of rows) {
    const shares = row.shares.reduce((sum, share) => sum + share, 0);
    const possible = Math.abs(shares - 1) < 1e-9 && row.macsFraction > 0 && row.accuracy > 0.05 && row.accuracy <= 1;
    assert.ok(possible, JSON.stringify(row));
  }
  assert.deepEqual([...new Set(wall.map(({ batch }) => batch))], [1, 16, 64, 256]);
  return `cheapest within a point, resnet56: ${shared.toFixed(3)} of the MACs, class means alone ${euclidean.toFixed(3)}`;
}
