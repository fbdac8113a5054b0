// `npm test`: installs, then every check there is. Ends with the line `N passed, N failed[, N skipped]`,
// which counts the unit tests and every other check as one each.
// @ts-check
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { installAndBuild, root, run } from "./run.mjs";

await installAndBuild();

let passed = 0;
let failed = 0;
let skipped = 0;

/** One check: a command that must exit with 0; its output is shown only when it does not. */
async function check(title, command, args, options = {}) {
  const started = performance.now();
  const { code, output } = await run(command, args, { quiet: true, ...options });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  if (code === 0) passed += 1;
  else failed += 1;
  process.stdout.write(
    `${code === 0 ? "ok    " : "FAILED"} ${title} (${seconds} s)\n${code === 0 ? "" : `${output}\n`}`,
  );
  return code;
}

await check("typecheck", "turbo", ["run", "typecheck", "--output-logs=errors-only"]);
await check("lint and format", "biome", ["check", "--error-on-warnings", "."]);
await check("boundaries between packages", "depcruise", ["--config", ".dependency-cruiser.cjs", "packages", "apps"]);
await check("unused code and dependencies", "knip", []);
await check("api documentation", "typedoc", []);
await unitTests();
await check("packages, as a stranger installs them", process.execPath, ["scripts/packaging.mjs"]);
await check("main job", process.execPath, ["scripts/main-job.mjs"]);

process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`);
process.exit(failed === 0 ? 0 : 1);

async function unitTests() {
  const file = join(root, "node_modules", ".unit-tests.json");
  rmSync(file, { force: true });
  const { code } = await run("vitest", ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${file}`]);
  try {
    const report = JSON.parse(readFileSync(file, "utf8"));
    passed += report.numPassedTests;
    failed += report.numFailedTests;
    skipped += report.numPendingTests + report.numTodoTests;
    if (code !== 0 && report.numFailedTests === 0) failed += 1;
  } catch (error) {
    failed += 1;
    process.stdout.write(`unit tests left no report: ${error}\n`);
  }
}
