// Kills, crowds and starves whatever writes files, and writes the figures to docs/reliability.md. From the sources:
// node --conditions=source --import ./packages/core-gpu/test/support/register-typescript.mjs scripts/drills.mjs
// Usage: scripts/drills.mjs [--times N] [--write]; N in place of each drill's own number.
import { parseArgs } from "node:util";
import { drills, twoExits } from "./drills/drills.mjs";
import { writeTable } from "./page.mjs";

const { values } = parseArgs({ options: { times: { type: "string" }, write: { type: "boolean" } } });
const from = (name) => import(new URL(`../packages/${name}/src/index.ts`, import.meta.url).href);
const [core, e2cm] = await Promise.all(["core-gpu", "e2cm"].map(from));
const words = (figures) =>
  Object.entries(figures)
    .map(
      ([name, value]) =>
        `${name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)} ${value.toLocaleString("en")}`,
    )
    .join(", ");
const rows = [];
let failed = 0;
for (const { name, full, none, run } of drills(core, e2cm, await twoExits(core, e2cm))) {
  const figures = await run(Number(values.times ?? full));
  process.stdout.write(`${JSON.stringify({ name, ...figures })}\n`);
  if (figures === null) continue;
  failed += none.reduce((sum, key) => sum + figures[key], 0);
  rows.push([name, words(figures)]);
}
if (values.write) await writeTable("drills", ["drill", "figures"], rows);
process.exitCode = failed > 0 ? 1 : 0;
