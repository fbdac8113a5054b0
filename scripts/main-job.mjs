// The main job once more, as `npm start` runs it, each experiment with its own check: counted quantities only, never milliseconds.
// @ts-check
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mainJob, root, run } from "./run.mjs";

const out = mkdtempSync(join(tmpdir(), "exitkit-main-job-"));
try {
  for (const { name, schema, check } of await mainJob()) {
    process.stdout.write(`${check(schema.parse(await quick(name)))}\n`);
    const page = readFileSync(join(out, name, "report.html"), "utf8");
    assert.ok(page.includes("</html>") && page.includes("<svg"), `the report of ${name} is whole and plots`);
  }
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
