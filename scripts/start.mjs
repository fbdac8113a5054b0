// `npm start`: install, build, then the main job on the data that lives in the repository, and its report.
// @ts-check
import { join } from "node:path";
import { installAndBuild, root, run } from "./run.mjs";

await installAndBuild((line) => process.stdout.write(`${line}\n`));
const folders = ["e2cm-cifar10", "train-cifar10"].map((experiment) => join("runs", "start", experiment));
for (const folder of folders) {
  const experiment = /** @type {string} */ (folder.split(/[\\/]/).at(-1));
  await bench("run", experiment, "--preset", "quick", "--fresh", "--out", folder, ...process.argv.slice(2));
}
await bench("report", ...folders, "--out", join("runs", "start", "report.html"));

/** @param {string[]} args */
async function bench(...args) {
  const { code } = await run(process.execPath, ["apps/bench/dist/cli.js", ...args], { cwd: root });
  if (code !== 0) process.exit(code);
}
