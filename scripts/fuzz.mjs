// Hands mutated files to every reader and keeps the figures in docs/reliability. From the sources:
// node --conditions=source --import ./packages/core-gpu/test/support/register-typescript.mjs scripts/fuzz.mjs
// Usage: scripts/fuzz.mjs [--inputs N] [--only PATTERN] [--write]: N more inputs for each reader that has not had 100,000 yet, each
// time other ones; --write makes the table of docs/reliability.md.
import { parseArgs } from "node:util";
import { drill } from "./fuzz/drill.mjs";
import { targets } from "./fuzz/targets.mjs";
import { added, readKept, writeKept, writeTable } from "./kept.mjs";

const FULL = 100_000;
const STEP = 5_000;
const { values } = parseArgs({
  options: { inputs: { type: "string", default: String(FULL) }, only: { type: "string" }, write: { type: "boolean" } },
});
let kept = await readKept("fuzz.json");
const all = (await targets()).filter(({ name }) => new RegExp(values.only ?? "").test(name));
for (const target of all) {
  const began = process.cpuUsage();
  const before = kept[target.name]?.inputs ?? 0;
  const until = Math.min(FULL, before + Number(values.inputs));
  // A few at a time: what is killed goes on where it was.
  for (let at = before; at < until; at += STEP) {
    const found = await drill(target, Math.min(STEP, until - at), 1 + at);
    kept = { ...(await readKept("fuzz.json")) };
    kept[target.name] = added(kept[target.name] ?? {}, found, ["amplification"]);
    await writeKept("fuzz.json", kept);
  }
  if (until <= before) continue;
  const { user, system } = process.cpuUsage(began);
  process.stdout.write(`${target.name} ${((user + system) / 1e6).toFixed(1)} s ${JSON.stringify(kept[target.name])}\n`);
}
if (values.write) {
  const count = (value) => value.toLocaleString("en");
  const rows = Object.entries(kept).map(([name, { inputs, accepted, crashes, hangs, amplification }]) => [
    name,
    count(inputs),
    count(accepted),
    count(crashes),
    count(hangs),
    `${amplification.toFixed(1)} ×`,
  ]);
  await writeTable("fuzz", ["reader", "inputs", "accepted", "crashes", "hangs", "worst amplification"], rows);
}
process.exitCode = Object.values(kept).some(({ crashes, hangs, heavy }) => crashes + hangs + heavy > 0) ? 1 : 0;
