import Cli from "cli-table3";
import { type Cell, type Table, textOf } from "../report/table.ts";
import type { Paint } from "./colour.ts";

/**
 * A table of text; columns of nothing but numbers (also with a sign or unit behind) are aligned to the right. One that is wider than
 * `width` is shown in parts below one another, each beginning with the first column.
 */
export function formatTable({ head, body }: Table, width: number, paint: Paint = (_, text) => text): string {
  const rows = body.map((row) => row.map((cell) => textOf(cell).replaceAll("\u00a0", " ")));
  const sizes = head.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column]!.length)) + 3);
  const parts: number[][] = [];
  for (let column = 1; column < head.length; column++) {
    const part = parts.at(-1);
    const taken = part === undefined ? Number.POSITIVE_INFINITY : part.reduce((sum, at) => sum + sizes[at]!, 1);
    if (part !== undefined && taken + sizes[column]! <= width) part.push(column);
    else parts.push([0, column]);
  }
  return (parts.length === 0 ? [[0]] : parts)
    .map((columns) => {
      // The words of the last column are wrapped where it is too wide.
      const over = columns.reduce((sum, at) => sum + sizes[at]!, 1) - width;
      const last = over > 0 ? Math.max(12, sizes[columns.at(-1)!]! - 1 - over) : null;
      const table = new Cli({
        head: columns.map((column) => paint("bold", head[column]!)),
        colAligns: columns.map((column) => (rows.every((row) => isNumber(row[column]!)) ? "right" : "left")),
        colWidths: columns.map((_, at) => (at === columns.length - 1 ? last : null)),
        wordWrap: true,
        style: { head: [], border: [], compact: true },
      });
      table.push(
        ...rows.map((row, at) => columns.map((column) => paintedCell(body[at]![column]!, row[column]!, paint))),
      );
      return table.toString();
    })
    .join("\n");
}

const TONES = { best: "bold", right: "green", wrong: "red" } as const;

function paintedCell(cell: Cell, text: string, paint: Paint): string {
  const style = typeof cell === "string" ? undefined : TONES[cell.tone as keyof typeof TONES];
  return style === undefined ? text : paint(style, text);
}

function isNumber(cell: string): boolean {
  return /^[-−]?[\d.,]+( ?[×%])?$/.test(cell);
}
