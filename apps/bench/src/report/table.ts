import { type Html, html, raw } from "./html.ts";

/** How a cell stands out, where the medium can show it. */
type Tone = "best" | "right" | "wrong" | "open" | "words";

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

/** Pixels that a letter and the space between columns take, about. */
const LETTER = 7.6;
const GAP = 14;
/** The column of a phone and of a desk. */
const WIDTHS = [350, 920] as const;

/** The table as HTML; where it is wider than the column it scrolls sideways, and a line above says so. */
export function htmlTable(table: Table): Html {
  const { head, body } = table;
  const [phone, desk] = WIDTHS.map((width) => widthOf(table) > width);
  const hint = html`<p class="${desk ? "hint" : "hint narrow"}">more columns to the right →</p>`;
  const kinds = head.map((_, column) => (body.every((row) => isNumber(row[column]!)) ? "number" : "text"));
  const cells = (row: readonly Cell[]) =>
    row.map((cell, column) =>
      column === 0
        ? html`<th scope="row">${mark(cell)}</th>`
        : html`<td${kinds[column] === "text" ? raw(' class="text"') : null}>${mark(cell)}</td>`,
    );
  const heading = (name: string, column: number) =>
    html`<th scope="col"${kinds[column] === "text" ? raw(' class="text"') : null}>${name}</th>`;
  return html`${phone ? hint : null}<div class="scroll"><table>
<thead><tr>${head.map(heading)}</tr></thead>
<tbody>${body.map((row) => html`<tr>${cells(row)}</tr>\n`)}</tbody>
</table></div>`;
}

/** Whether a cell is read as a number, also one with a unit, a change or a range behind it; sentences are not. */
function isNumber(cell: Cell): boolean {
  const text = textOf(cell);
  return (typeof cell === "string" || cell.tone !== "words") && (text === DASH || /^[-−+±]?[\d.,]/.test(text));
}

/** About how wide the table is, headings wrapped. */
function widthOf({ head, body }: Table): number {
  const letters = head.map((name, column) => {
    const words = name.split(" ").map((word) => word.length);
    const cells = body.map((row) => row[column]!).filter((cell) => typeof cell === "string" || cell.tone !== "words");
    return Math.max(...words, ...cells.map((cell) => Math.min(textOf(cell).length, column === 0 ? 20 : 40)));
  });
  return letters.reduce((sum, count) => sum + count * LETTER + GAP, 0);
}

function mark(cell: Cell): Html | string {
  if (typeof cell === "string") return cell;
  if (cell.tone === "best") return html`<b>${cell.text}</b>`;
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
