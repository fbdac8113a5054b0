import { type Html, html } from "./html.ts";

/** How a cell stands out, where the medium can show it. */
type Tone = "best" | "right" | "wrong" | "open" | "words" | "code";

/** Text of a cell; with a tone where it must stand out. */
export type Cell = string | { readonly text: string; readonly tone: Tone };

/** A table of text, the same for the report (HTML), the measured pages (Markdown) and the terminal. */
export interface Table {
  readonly head: readonly string[];
  readonly body: readonly (readonly Cell[])[];
}

type Value = Cell | number | null | undefined;

/**
 * One column: its heading, what it shows of a row (a key, or a function of the row and its index), and how a number is written.
 * Without a format numbers are written in full with separators; null, undefined and NaN are a dash; true and false are yes and no.
 */
export type Column<R> = readonly [
  heading: string,
  value: (keyof R & string) | ((row: R, index: number) => Value),
  format?: (value: number) => string,
];

const DASH = "–";

/** Describes a table once: a row for each item, a column for each description; the first column names the row. */
export function tableOf<R>(rows: readonly R[], columns: readonly (Column<R> | false)[]): Table {
  const shown = columns.filter((column) => column !== false);
  const cell = ([, value, format = plain]: Column<R>, row: R, index: number): Cell => {
    const found = typeof value === "function" ? value(row, index) : (row[value] as Value);
    if (typeof found === "number") return Number.isNaN(found) ? DASH : format(found);
    if (typeof found === "boolean") return found ? "yes" : "no";
    return found ?? DASH;
  };
  return {
    head: shown.map(([heading]) => heading),
    body: rows.map((row, index) => shown.map((column) => cell(column, row, index))),
  };
}

function plain(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 20 });
}

/** The table as HTML; it scrolls sideways when narrow. */
export function htmlTable({ head, body }: Table): Html {
  const cells = (row: readonly Cell[]) =>
    row.map((cell, index) => (index === 0 ? html`<th scope="row">${mark(cell)}</th>` : html`<td>${mark(cell)}</td>`));
  return html`<div class="scroll"><table>
<thead><tr>${head.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
<tbody>${body.map((row) => html`<tr>${cells(row)}</tr>\n`)}</tbody>
</table></div>`;
}

function mark(cell: Cell): Html | string {
  if (typeof cell === "string") return cell;
  if (cell.tone === "best") return html`<b>${cell.text}</b>`;
  if (cell.tone === "code") return html`<code>${cell.text}</code>`;
  return html`<span class="${cell.tone}">${cell.text}</span>`;
}

/** The table as Markdown. */
export function markdownTable({ head, body }: Table): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  const text = (cell: Cell) => (typeof cell !== "string" && cell.tone === "best" ? `**${cell.text}**` : textOf(cell));
  return [line(head), line(head.map(() => "---")), ...body.map((row) => line(row.map(text)))].join("\n");
}

/** What a cell says, without its tone. */
export function textOf(cell: Cell): string {
  return typeof cell === "string" ? cell : cell.text;
}
