// The quick preset of every experiment with a check, on the data of the repository: counted quantities only, never milliseconds, so
// that two at a time may run.
// @ts-check
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checked, root, run } from "./run.mjs";

const out = mkdtempSync(join(tmpdir(), "exitkit-main-job-"));
try {
  const waiting = await checked();
  await Promise.all([work(), work()]);

  async function work() {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const begun = performance.now();
      const said = next.check(next.schema.parse(await quick(next.name)));
      const page = readFileSync(join(out, next.name, "report.html"), "utf8");
      assert.ok(page.includes("</html>") && page.includes("<svg"), `the report of ${next.name} is whole and plots`);
      process.stdout.write(`${next.name}, ${Math.round((performance.now() - begun) / 1000)} s: ${said}\n`);
    }
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
