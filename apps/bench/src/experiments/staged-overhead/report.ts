import { details } from "../../report/chart.ts";
import { machine } from "../../report/machine.ts";
import type { Block } from "../../report/markdown.ts";
import { decimal, digits, percent, times } from "../../report/numbers.ts";
import type { Headline, Report } from "../../report/report.ts";
import { backboneName } from "../../report/series.ts";
import { tableOf } from "../../report/table.ts";
import type { Summary } from "../experiment.ts";
import { dumbbells } from "./chart.ts";
import type { OverheadResult } from "./schema.ts";

/** Its chapter of the report. */
export function report(result: OverheadResult): Report {
  const { rows } = result;
  return {
    headline: headline(result),
    sections: [
      {
        id: "overhead",
        title: "Time against computation, in stages",
        about: "A network that can stop early runs in stages. What do the cuts between them cost?",
        of: rows,
        content: () => [...dumbbells(rows), details(`All ${rows.length} measurements`, table(rows))],
      },
    ],
    method: {
      Scenarios:
        "“No exits”: every picture runs through all stages, so extra time is what staging costs. “Half leave at each exit”: half of the pictures that reach an exit leave there. “All leave first”: only the first stage runs.",
      Time: "Wall-clock time of one batch, in stages and in one piece, measured in turn in one process; medians.",
      "A cut costs": "Time beyond the share of the computation, divided by the number of cuts.",
    },
  };
}

/** The runs in which no picture leaves: what they take beyond the plain network is the price of being able to stop. */
function headline({ rows }: OverheadResult): Headline {
  const idle = rows.filter((row) => row.scenario === "no exits");
  if (idle.length === 0) {
    const sentence =
      rows.length === 0 ? "nothing was measured in this run." : "the run without exits was not measured.";
    return { sentence: `Staged execution: ${sentence}` };
  }
  const costs = idle.map((row) => row.wallFraction - 1).sort((a, b) => a - b);
  const worst = idle.find((row) => row.wallFraction - 1 === costs.at(-1))!;
  const middle = (costs[Math.floor((costs.length - 1) / 2)]! + costs[Math.ceil((costs.length - 1) / 2)]!) / 2;
  return {
    sentence: `Running a network in stages adds ${percent(middle, 1)} to its time when no picture leaves early (median of ${idle.length} settings), and at worst ${percent(costs.at(-1)!, 1)}.`,
    detail: `Worst: ${backboneName(worst.backbone)} in batches of ${worst.batch}, cut ${worst.cuts} times.`,
  };
}

/** Its part of docs/measured.md. */
export function measured(result: OverheadResult): readonly Block[] {
  return [
    "## What executing in stages costs and saves",
    `Three stages with cheap exits against one plain session, interleaved. ${machine(result)}.`,
    table(result.rows),
  ];
}

/** What the terminal shows at the end. */
export function summary({ rows, environment }: OverheadResult): Summary {
  const { loadAverage: [load = 0] = [], cores = 1 } = environment;
  const notes = ["MACs and time are fractions of the plain network's; times are medians of interleaved rounds."];
  if (load > cores / 2) {
    notes.push(
      `The machine was busy at the start (load ${decimal(load, 1)} on ${cores} cores): do not quote these times.`,
    );
  }
  return { table: table(rows), notes };
}

function table(rows: OverheadResult["rows"]) {
  return tableOf(rows, [
    ["network", ({ backbone }) => backboneName(backbone)],
    ["batch", "batch"],
    ["scenario", "scenario"],
    ["cuts", "cuts"],
    ["MACs", "macsFraction", times],
    ["time", "wallFraction", times],
    ["plain ms", "plainMs", digits(2)],
    ["in stages ms", "stagedMs", digits(2)],
    ["ms a cut", "msPerCut", digits(3)],
    ["rounds", "runs"],
  ]);
}
