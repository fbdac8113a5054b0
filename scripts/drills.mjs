// Kills, crowds and starves whatever writes files, and keeps the figures in docs/reliability. From the sources:
// node --conditions=source --import ./packages/core-gpu/test/support/register-typescript.mjs scripts/drills.mjs
// Usage: scripts/drills.mjs [--times N] [--write]: each drill N times, or as often as is left to its own number; --write makes the
// table of docs/reliability.md.
import { parseArgs } from "node:util";
import { drills, twoExits } from "./drills/drills.mjs";
import { added, readKept, writeKept, writeTable } from "./kept.mjs";

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

const all = drills(core, e2cm, await twoExits(core, e2cm));
let kept = await readKept("drills.json");
for (const { key, full, counts, run } of all) {
  const left = full - (kept[key]?.[counts] ?? 0);
  if (left <= 0) continue;
  const figures = await run(Math.min(left, Number(values.times ?? left)), full - left);
  process.stdout.write(`${JSON.stringify({ key, ...figures })}\n`);
  if (figures === null) continue;
  kept = { ...kept, [key]: added(kept[key] ?? {}, figures, ["files"]) };
  await writeKept("drills.json", kept);
}
const done = all.filter(({ key }) => key in kept);
if (values.write)
  await writeTable(
    "drills",
    ["drill", "figures"],
    done.map(({ key, name }) => [name, words(kept[key])]),
  );
process.exitCode = done.some(({ key, none }) => none.some((figure) => kept[key][figure] > 0)) ? 1 : 0;
