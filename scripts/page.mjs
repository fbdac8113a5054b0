import { readFile, writeFile } from "node:fs/promises";

const page = new URL("../docs/reliability.md", import.meta.url);

/** Puts a table into docs/reliability.md, between `<!-- name -->` and `<!-- /name -->`. */
export async function writeTable(name, columns, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  const table = [line(columns), `|${columns.map(() => "---|").join("")}`, ...rows.map(line)].join("\n");
  const text = await readFile(page, "utf8");
  const [before, rest] = text.split(`<!-- ${name} -->`);
  const after = rest.split(`<!-- /${name} -->`)[1];
  await writeFile(page, `${before}<!-- ${name} -->\n${table}\n<!-- /${name} -->${after}`);
}
