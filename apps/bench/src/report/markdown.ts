import { markdownTable, type Table } from "./table.ts";

/** A part of a Markdown page: a heading or a paragraph as it is, or a table. */
export type Block = string | Table;

/** The parts as Markdown, an empty line between two. Spaces that do not break become ordinary ones. */
export function markdown(blocks: readonly Block[]): string {
  const parts = blocks.map((block) => (typeof block === "string" ? block : markdownTable(block)));
  return parts
    .filter((part) => part !== "")
    .join("\n\n")
    .replaceAll("\u00a0", " ");
}
