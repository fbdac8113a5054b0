import { mkdir, readFile, rename, writeFile } from "node:fs/promises";

const folder = new URL("../docs/reliability/", import.meta.url);
const page = new URL("../docs/reliability.md", import.meta.url);

/** Figures that were counted earlier, by name; from docs/reliability. */
export async function readKept(file) {
  const text = await readFile(new URL(file, folder), "utf8").catch(() => "{}");
  return JSON.parse(text);
}

/** Keeps figures: a long count is made in many short ones, and goes on where it was. */
export async function writeKept(file, figures) {
  await mkdir(folder, { recursive: true });
  const waiting = new URL(`${file}.new`, folder);
  await writeFile(waiting, `${JSON.stringify(figures, null, 1)}\n`);
  await rename(waiting, new URL(file, folder));
}

/** Two counts of the same as one: numbers are added, those of `largest` are not. */
export function added(before, now, largest) {
  const sum = (key, value) => (largest.includes(key) ? Math.max(before[key] ?? 0, value) : (before[key] ?? 0) + value);
  return Object.fromEntries(
    Object.entries(now).map(([key, value]) => [
      key,
      typeof value === "number" ? sum(key, value) : (before[key] ?? value),
    ]),
  );
}

/** Puts a table into docs/reliability.md, between `<!-- name -->` and `<!-- /name -->`. */
export async function writeTable(name, columns, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  const table = [line(columns), `|${columns.map(() => "---|").join("")}`, ...rows.map(line)].join("\n");
  const text = await readFile(page, "utf8");
  const [before, rest] = text.split(`<!-- ${name} -->`);
  const after = rest.split(`<!-- /${name} -->`)[1];
  await writeFile(page, `${before}<!-- ${name} -->\n${table}\n<!-- /${name} -->${after}`);
}
