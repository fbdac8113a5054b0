import Table from "cli-table3";

/** A table of text; columns of numbers are aligned to the right. */
export function formatTable(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const colAligns = head.map((_, column) => (rows.some((row) => typeof row[column] === "number") ? "right" : "left"));
  const table = new Table({
    head: [...head],
    colAligns: colAligns as ("left" | "right")[],
    style: { head: [], border: [] },
  });
  for (const row of rows) table.push([...row]);
  return table.toString();
}
