// `npm test`: installs, then every check there is. Ends with the line `N passed, N failed[, N skipped]`,
// which counts the unit tests and every other check as one each.
// @ts-check
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { installAndBuild, root, run, turbo } from "./run.mjs";

await installAndBuild();

let passed = 0;
let failed = 0;
let skipped = 0;

/** One check: a job that must end with 0; its output is shown only when it does not. */
async function check(title, job) {
  const started = performance.now();
  const { code, output } = await job;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  if (code === 0) passed += 1;
  else failed += 1;
  process.stdout.write(
    `${code === 0 ? "ok    " : "FAILED"} ${title} (${seconds} s)\n${code === 0 ? "" : `${output}\n`}`,
  );
  return code;
}

await check("typecheck", turbo("typecheck", { quiet: true }));
await check("lint and format", quietly("biome", ["check", "--error-on-warnings", "."]));
await check(
  "boundaries between packages",
  quietly("depcruise", ["--config", ".dependency-cruiser.cjs", "packages", "apps"]),
);
await check("unused code and dependencies", quietly("knip", []));
await check(
  "measured numbers in the documents",
  quietly(process.execPath, ["apps/bench/dist/cli.js", "measured", "--check"]),
);
await check("inspections in the documents", quietly(process.execPath, ["scripts/networks.mjs", "--check"]));
await check("api documentation", quietly("typedoc", []));
await unitTests();
await check("packages, as a stranger installs them", quietly(process.execPath, ["scripts/packaging.mjs"]));
await check("main job", quietly(process.execPath, ["scripts/main-job.mjs"]));

process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`);
process.exit(failed === 0 ? 0 : 1);

function quietly(command, args) {
  return run(command, args, { quiet: true });
}

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
