import type { Html } from "../../../report/html.ts";
import { costAxis, lineFigure, percentAxis } from "../../../report/lines.ts";
import { milliseconds, percent } from "../../../report/numbers.ts";
import { backboneName, distinct } from "../../../report/series.ts";
import type { E2cmCifar10Result, WallRow } from "../schema.ts";
import { byBackbone } from "../tables.ts";

/** Time against computation: one chart for each backbone and metric, one curve for each batch size. */
export function speedFigure(result: E2cmCifar10Result): Html {
  const { wall } = result;
  // Both axes begin at the same value, so that the diagonal stays one.
  const lowest = Math.min(...wall.flatMap((row) => [row.wallFraction, row.macsFraction]));
  const low = Math.max(0, Math.floor((lowest - 0.05) / 0.2) * 0.2);
  const longest = Math.max(1.05, ...wall.map((row) => row.wallFraction)) * 1.05;
  const charts = byBackbone(result, wall).map(([backbone, own]) => ({
    title: backboneName(backbone),
    label: `${backboneName(backbone)}: time against multiply-accumulates`,
    lines: batchLines(own),
    x: costAxis(
      wall.map((row) => row.macsFraction),
      { low, narrow: true },
    ),
    y: percentAxis("time, share of the plain network's", [low, longest]),
    height: 380,
    phoneHeight: 320,
    diagonal: "time = computation",
  }));
  return lineFigure(
    charts,
    "On the dashed line, time falls exactly as computation does; above it, moving pictures between stages costs time. Each pair of times was measured in turn, in the same process.",
  );
}

/** Larger batches are closer to the ink's colour. */
function batchLines(rows: readonly WallRow[]) {
  const batches = distinct(rows.map((row) => row.batch)).sort((a, b) => a - b);
  return batches.map((batch, index) => ({
    name: `batch ${batch}`,
    color: `color-mix(in oklab, var(--ink) ${Math.round((75 * index) / Math.max(1, batches.length - 1))}%, var(--blue))`,
    points: rows
      .filter((row) => row.batch === batch)
      .sort((a, b) => a.macsFraction - b.macsFraction)
      .map((row) => ({
        x: row.macsFraction,
        y: row.wallFraction,
        title: `Batch ${batch}: ${percent(row.wallFraction, 1)} of the time with ${percent(row.macsFraction, 1)} of the multiply-accumulates\n${milliseconds(row.stagedMs)} instead of ${milliseconds(row.plainMs)}; ${percent(row.accuracy, 1)} right`,
      })),
  }));
}
