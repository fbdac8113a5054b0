// `npm start`: install, build, then the main job on the data that lives in the repository, and its report.
// @ts-check
import { installAndBuild, root, run } from "./run.mjs";

await installAndBuild((line) => process.stdout.write(`${line}\n`));
const bench = (/** @type {string[]} */ ...args) =>
  run(process.execPath, ["apps/bench/dist/cli.js", ...args], { cwd: root });
const main = await bench("run", "e2cm-cifar10", "--preset", "quick", "--fresh", ...process.argv.slice(2));
process.exit(main.code);
