import * as Plot from "@observablehq/plot";
import { axisName, draw, figure, gridAndAxisX, HALO, responsive } from "../../report/chart.ts";
import { type Html, html } from "../../report/html.ts";
import { milliseconds, percent } from "../../report/numbers.ts";
import { backboneName, grouped } from "../../report/series.ts";
import type { OverheadRow as Row } from "./schema.ts";

const LINE = 26;

/** Time against computation when a network runs in stages, a figure a network: both as two dots on one line. */
export function dumbbells(rows: readonly Row[]): readonly Html[] {
  const domain = [0, Math.max(1, ...rows.flatMap((row) => [row.wallFraction, row.macsFraction])) * 1.04] as const;
  return grouped(rows, ({ backbone }) => backbone).map(([backbone, own]) =>
    figure(
      html`<h3>${backboneName(backbone)}</h3><p class="key"><i class="ring"></i> computation (multiply-accumulates)
<i class="dot"></i> time</p>${responsive((width) => pairsOfDots(own, domain, width))}`,
      "Shares of the plain network run in one piece. Where the two dots meet, staging costs nothing.",
    ),
  );
}

function pairsOfDots(rows: readonly Row[], domain: readonly [number, number], width: number): Html {
  const lines = grouped(rows, ({ scenario }) => scenario).flatMap(([scenario, own]) => [
    { key: scenario, scenario, row: undefined },
    ...own.sort((a, b) => a.batch - b.batch).map((row) => ({ key: `${scenario} ${row.batch}`, scenario, row })),
  ]);
  const measured = lines.flatMap(({ key, row }) => (row === undefined ? [] : [{ key, ...row }]));
  const titles = lines.filter(({ row }) => row === undefined);
  const left = 76;
  return draw("Time against multiply-accumulates, by scenario and batch", {
    width,
    height: lines.length * LINE + 52,
    marginLeft: left,
    marginRight: 56,
    marginTop: 4,
    marginBottom: 40,
    x: { domain: [...domain], label: null },
    y: { domain: lines.map(({ key }) => key), axis: null, padding: 0.5 },
    marks: [
      ...gridAndAxisX(width, { tickFormat: (value: number) => percent(value) }),
      Plot.ruleX([1], { stroke: "var(--ink-2)", strokeDasharray: "3 3" }),
      axisName("share of the plain network's"),
      Plot.text(titles, {
        y: "key",
        text: "scenario",
        frameAnchor: "left",
        textAnchor: "start",
        dx: 4 - left,
        fontWeight: 600,
        fill: "var(--ink)",
        ...HALO,
      }),
      Plot.text(measured, {
        y: "key",
        text: (row: Row) => `batch ${row.batch}`,
        frameAnchor: "left",
        textAnchor: "end",
        dx: -8,
        fill: "var(--ink-2)",
      }),
      Plot.link(measured, {
        x1: "macsFraction",
        x2: "wallFraction",
        y: "key",
        stroke: "var(--blue)",
        strokeWidth: 2,
        strokeOpacity: 0.5,
      }),
      Plot.dot(measured, { x: "wallFraction", y: "key", r: 5, fill: "var(--blue)", title: tooltip }),
      Plot.dot(measured, {
        x: "macsFraction",
        y: "key",
        r: 5,
        fill: "none",
        stroke: "var(--ink)",
        strokeWidth: 1.5,
        title: tooltip,
      }),
      Plot.text(measured, {
        x: (row: Row) => Math.max(row.macsFraction, row.wallFraction),
        y: "key",
        dx: 10,
        textAnchor: "start",
        text: (row: Row) => percent(row.wallFraction),
        fill: "var(--ink)",
        ...HALO,
      }),
    ],
  });
}

function tooltip(row: Row): string {
  return `${row.scenario}, batch ${row.batch}: ${percent(row.wallFraction, 1)} of the time, ${percent(row.macsFraction, 1)} of the multiply-accumulates\n${milliseconds(row.stagedMs)} instead of ${milliseconds(row.plainMs)}`;
}
