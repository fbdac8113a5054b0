// What executing in stages costs and saves.
// @ts-check
import { machine, name, table, times } from "./words.mjs";

/** Its part of docs/measured.md. */
export function page(overhead) {
  return [
    "## What executing in stages costs and saves",
    "",
    `Three stages with cheap exits against one plain session, interleaved. ${machine(overhead)}.`,
    "",
    table(
      ["network", "batch", "scenario", "MACs", "time", "plain ms", "in stages ms", "ms a cut", "rounds"],
      overhead.rows.map((row) => [
        name(row.backbone),
        String(row.batch),
        row.scenario,
        times(row.macsFraction),
        times(row.wallFraction),
        row.plainMs.toFixed(2),
        row.stagedMs.toFixed(2),
        row.msPerCut.toFixed(3),
        String(row.runs),
      ]),
    ),
    "",
  ];
}
