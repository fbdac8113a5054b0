import Table from "cli-table3";

/** A table of text; columns of nothing but numbers (also with a sign or unit behind) are aligned to the right. */
export function formatTable(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const table = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (rows.every((row) => isNumber(row[column])) ? "right" : "left")),
    style: { head: [], border: [], compact: true },
  });
  for (const row of rows) table.push([...row]);
  return table.toString();
}

function isNumber(cell: string | number | undefined): boolean {
  return typeof cell === "number" || /^[-−]?[\d.,]+( ?[×%])?$/.test(cell ?? "");
}
