import { metricSeries } from "../experiments/e2cm/words.ts";
import { COLUMN, figure, HALF, isPhone, NOT_MEASURED, responsive, table } from "./chart.ts";
import { costAxis, mainFirst } from "./frontier.ts";
import { type Html, html } from "./html.ts";
import { legacyChart } from "./lines.ts";
import { milliseconds, percent } from "./numbers.ts";
import { backboneName, distinct } from "./series.ts";
import type { E2cmCifar10Result } from "./types.ts";

type Wall = E2cmCifar10Result["wall"][number];

/** Time against computation: one chart for each backbone and metric, one curve for each batch size, and all numbers. */
export function speedSection(result: E2cmCifar10Result): Html {
  const { wall } = result;
  if (wall.length === 0) return NOT_MEASURED;
  const groups = mainFirst(result, wall).flatMap((backbone) =>
    distinct(wall.filter((row) => row.backbone === backbone).map((row) => row.metric)).map((metric) => ({
      name: `${backboneName(backbone)}, ${metricSeries(metric).name}`,
      metric,
      rows: wall
        .filter((row) => row.backbone === backbone && row.metric === metric)
        .sort((a, b) => a.batch - b.batch || a.macsFraction - b.macsFraction),
    })),
  );
  // Both axes begin at the same value, so that the diagonal stays one.
  const lowest = Math.min(...wall.flatMap((row) => [row.wallFraction, row.macsFraction]));
  const low = Math.max(0, Math.floor((lowest - 0.05) / 0.2) * 0.2);
  const longest = Math.max(1.05, ...wall.map((row) => row.wallFraction)) * 1.05;
  const charts = groups.map(({ name, metric, rows }) => {
    const lines = batchLines(rows, metricSeries(metric).color);
    return html`<div><h3>${name}</h3>${responsive(
      (width) =>
        legacyChart({
          label: `${name}: time against multiply-accumulates`,
          lines,
          x: costAxis([...wall.map((row) => row.macsFraction)], isPhone(width), low),
          y: { label: "time, share of the plain network's", domain: [low, longest], format: (value) => percent(value) },
          width,
          height: isPhone(width) ? 320 : 380,
          diagonal: "time = computation",
        }),
      groups.length > 1 ? HALF : COLUMN,
    )}</div>`;
  });
  const body = groups.flatMap(({ name, rows }) =>
    rows.map((row) => [
      name,
      String(row.batch),
      percent(row.macsFraction),
      percent(row.wallFraction),
      milliseconds(row.plainMs),
      milliseconds(row.stagedMs),
      percent(row.accuracy, 1),
      String(row.runs),
    ]),
  );
  return html`${figure(
    html`<div class="pair">${charts}</div>`,
    "On the dashed line, time falls exactly as computation does; above it, moving pictures between stages costs time. Each pair of times was measured in turn, in the same process.",
  )}<details><summary>All ${body.length} measurements</summary>${table(
    ["method", "batch", "MACs", "time", "plain", "with exits", "accuracy", "runs"],
    body,
  )}</details>`;
}

/** Larger batches are closer to the ink's colour. */
function batchLines(rows: readonly Wall[], color: string) {
  const batches = distinct(rows.map((row) => row.batch));
  return batches.map((batch, index) => ({
    name: `batch ${batch}`,
    color: `color-mix(in oklab, var(--ink) ${Math.round((75 * index) / Math.max(1, batches.length - 1))}%, ${color})`,
    points: rows
      .filter((row) => row.batch === batch)
      .map((row) => ({
        x: row.macsFraction,
        y: row.wallFraction,
        title: `Batch ${batch}: ${percent(row.wallFraction, 1)} of the time with ${percent(row.macsFraction, 1)} of the multiply-accumulates\n${milliseconds(row.stagedMs)} instead of ${milliseconds(row.plainMs)}; ${percent(row.accuracy, 1)} right`,
      })),
  }));
}
