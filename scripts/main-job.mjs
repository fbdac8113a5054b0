// The main job once more, as `npm start` runs it, with its numbers looked at: counted quantities only, never milliseconds.
// @ts-check
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root, run } from "./run.mjs";

const out = mkdtempSync(join(tmpdir(), "exitkit-main-job-"));
try {
  const result = await quick("e2cm-cifar10");

  // What PyTorch counts on the same 2,500 pictures with the same weights.
  const right = Object.fromEntries(
    result.backbones.map(({ backbone, accuracy }) => [backbone, Math.round(accuracy * 2500)]),
  );
  assert.deepEqual(right, { resnet56: 2318 });

  const rows = result.rows.filter(({ backbone, protocol }) => backbone === "resnet56" && protocol === "sound");
  const cheapest = (metric, loss) =>
    Math.min(
      ...rows
        .filter((row) => row.metric === metric && row.accuracy >= result.full.accuracy - loss)
        .map((row) => row.macsFraction),
    );
  const [shared, euclidean] = [cheapest("sharedCovariance", 0.01), cheapest("euclidean", 0.01)];
  process.stdout.write(
    `cheapest within a point, resnet56: ${shared.toFixed(3)} of the MACs, class means alone ${euclidean.toFixed(3)}\n`,
  );
  assert.ok(shared <= 0.78, `shared covariance must keep within a point at 0.78 of the MACs, needs ${shared}`);
  assert.ok(shared < euclidean, `shared covariance (${shared}) must beat plain class means (${euclidean})`);

  for (const protocol of ["paper", "sound"]) {
    for (const rule of ["normalised", "raw", "perSampleMaximum", "posterior"]) {
      assert.ok(
        result.rows.some((row) => row.protocol === protocol && row.rule === rule),
        `${rule} under ${protocol}`,
      );
    }
  }
  for (const row of result.rows) {
    const shares = row.shares.reduce((sum, share) => sum + share, 0);
    assert.ok(
      Math.abs(shares - 1) < 1e-9 && row.macsFraction > 0 && row.accuracy > 0.05 && row.accuracy <= 1,
      JSON.stringify(row),
    );
  }
  assert.deepEqual([...new Set(result.wall.map(({ batch }) => batch))], [1, 16, 64, 256]);

  const page = readFileSync(join(out, "e2cm-cifar10", "report.html"), "utf8");
  assert.ok(page.includes("ResNet-56") && page.includes("<svg"), "the report shows the network and plots");

  const { curve } = await quick("train-cifar10");
  process.stdout.write(
    `training: loss ${curve.map(({ trainLoss }) => trainLoss.toFixed(2)).join(" → ")}, accuracy ${curve.map(({ testAccuracy }) => testAccuracy.toFixed(3)).join(" → ")}\n`,
  );
  assert.ok(curve.length >= 2 && curve.at(-1).trainLoss < curve[0].trainLoss, "the loss falls");
  assert.ok(curve.at(-1).testAccuracy > Math.max(curve[0].testAccuracy, 0.3), "the accuracy rises, far above chance");
} finally {
  rmSync(out, { recursive: true, force: true });
}

/**
 * Runs the quick preset of an experiment on the data of the repository.
 *
 * @param {string} experiment
 */
async function quick(experiment) {
  const folder = join(out, experiment);
  const args = ["apps/bench/dist/cli.js", "run", experiment, "--preset", "quick", "--out", folder, "--json"];
  const env = { EXITKIT_DATA: "" };
  const { code, output, stdout } = await run(process.execPath, args, { cwd: root, quiet: true, env });
  assert.equal(code, 0, output);
  const lines = stdout.trimEnd().split("\n");
  assert.equal(lines.length, 1, "--json prints one line and nothing else");
  const result = JSON.parse(lines[0]);
  assert.equal(result.experiment, experiment);
  return result;
}
