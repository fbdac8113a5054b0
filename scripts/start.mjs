// `npm start`: install, build, then the main job on the data that lives in the repository, and its report. An experiment with a
// check is a part of it.
// @ts-check
import { join } from "node:path";
import { installAndBuild, mainJob, root, run } from "./run.mjs";

await installAndBuild((line) => process.stdout.write(`${line}\n`));
const folders = [];
for (const { name } of await mainJob()) {
  const folder = join("runs", "start", name);
  await bench("run", name, "--preset", "quick", "--fresh", "--out", folder, ...process.argv.slice(2));
  folders.push(folder);
}
await bench("report", ...folders, "--out", join("runs", "start", "report.html"));

/** @param {string[]} args */
async function bench(...args) {
  const { code } = await run(process.execPath, ["apps/bench/dist/cli.js", ...args], { cwd: root });
  if (code !== 0) process.exit(code);
}
