import Cli from "cli-table3";
import { type Table, textOf } from "../report/table.ts";

/** A table of text; columns of nothing but numbers (also with a sign or unit behind) are aligned to the right. */
export function formatTable({ head, body }: Table): string {
  const rows = body.map((row) => row.map((cell) => textOf(cell).replaceAll("\u00a0", " ")));
  const table = new Cli({
    head: [...head],
    colAligns: head.map((_, column) => (rows.every((row) => isNumber(row[column]!)) ? "right" : "left")),
    style: { head: [], border: [], compact: true },
  });
  table.push(...rows);
  return table.toString();
}

function isNumber(cell: string): boolean {
  return /^[-−]?[\d.,]+( ?[×%])?$/.test(cell);
}
