// `npm run -s bench -- <arguments>`: the bench command line, built first when it has not been.
// @ts-check
import { existsSync } from "node:fs";
import { join } from "node:path";
import { installAndBuild, root, run } from "./run.mjs";

const cli = join(root, "apps/bench/dist/cli.js");
if (!existsSync(cli)) await installAndBuild();
const { code } = await run(process.execPath, [cli, ...process.argv.slice(2)], { cwd: process.cwd() });
process.exit(code);
