// `npm start`: install, build, then one experiment on the data that lives in the repository. Options are those of `bench run`.
// @ts-check
import { join } from "node:path";
import { installAndBuild, root, run } from "./run.mjs";

await installAndBuild((line) => process.stdout.write(`${line}\n`));
const args = [
  "run",
  "e2cm-cifar10",
  "--preset",
  "quick",
  "--fresh",
  "--out",
  join("runs", "start"),
  ...process.argv.slice(2),
];
const { code } = await run(process.execPath, ["apps/bench/dist/cli.js", ...args], { cwd: root });
process.exit(code);
