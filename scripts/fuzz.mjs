// Hands mutated files to every reader and writes the table of docs/reliability.md. Build first, or read the sources:
// node --conditions=source --import ./packages/core-gpu/test/support/register-typescript.mjs scripts/fuzz.mjs --source
// Usage: node scripts/fuzz.mjs [--inputs 100000] [--seed 1] [--write] [--source]
import { readFile, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { drill } from "./fuzz/drill.mjs";
import { targets } from "./fuzz/targets.mjs";

const { values } = parseArgs({
  options: {
    inputs: { type: "string", default: "100000" },
    seed: { type: "string", default: "1" },
    write: { type: "boolean" },
    source: { type: "boolean" },
  },
});
const entry = values.source ? "src/index.ts" : "dist/index.js";
const from = (name) => import(new URL(`../packages/${name}/${entry}`, import.meta.url).href);
const [core, e2cm] = await Promise.all(["core-gpu", "e2cm"].map(from));
const results = [];
for (const target of await targets(core, e2cm)) {
  const found = await drill(target, Number(values.inputs), Number(values.seed));
  process.stdout.write(`${JSON.stringify(found)}\n`);
  results.push(found);
}
const page = new URL("../docs/reliability.md", import.meta.url);
if (values.write) {
  const rows = results.map(
    ({ reader, inputs, accepted, crashes, hangs, amplification }) =>
      `| ${reader} | ${inputs.toLocaleString("en")} | ${accepted.toLocaleString("en")} | ${crashes} | ${hangs} | ${amplification.toFixed(1)} × |`,
  );
  const table = [
    "| reader | inputs | accepted | crashes | hangs | worst amplification |",
    "|---|---|---|---|---|---|",
    ...rows,
  ];
  const text = await readFile(page, "utf8");
  const [before, after] = [text.split("<!-- fuzz -->")[0], text.split("<!-- /fuzz -->")[1]];
  await writeFile(page, `${before}<!-- fuzz -->\n${table.join("\n")}\n<!-- /fuzz -->${after}`);
}
process.exitCode = results.some(({ crashes, hangs }) => crashes + hangs > 0) ? 1 : 0;
