import { COLUMN, figure, HALF } from "../../report/chart.ts";
import { type Html, html } from "../../report/html.ts";
import { costAxis, type Line, type LineChart, lineChart, lineFigure, percentAxis } from "../../report/lines.ts";
import { percent, points } from "../../report/numbers.ts";
import { backboneName, distinct } from "../../report/series.ts";
import type { Figure, RivalData, RivalsResult } from "./schema.ts";
import { atFraction, methodsOf, passMethod, rivalSeries } from "./series.ts";

/** Accuracy against MACs of one epoch: a chart for each data set, the paper's figure beside it where there is one. */
export function oneEpochFigures(result: RivalsResult): Html[] {
  if (result.rows.length === 0) return [];
  return result.datasets.map((dataset) => {
    const rows = result.rows.filter((row) => row.dataset === dataset.dataset);
    const lines = methodsOf(rows, "one epoch").map((method) => methodLine(rows, method, "one epoch"));
    const theirs = result.figure.filter((one) => one.dataset === dataset.dataset);
    const width = theirs.length === 0 ? COLUMN : HALF;
    const own = chart(dataset, lines, `Measured here: ${backboneName(dataset.network)}`, width);
    const beside = theirs.length === 0 ? null : drawn(paperChart(theirs), HALF);
    return figure(
      html`<h3>${dataset.name}</h3><div class="pair">${drawn(own, width)}${beside}</div>`,
      caption(result, dataset, theirs.length > 0),
    );
  });
}

/** The same for several epochs, with one pass of E²CM to compare. */
export function unlimitedFigure({ rows, datasets, settings }: RivalsResult): Html | null {
  const epochs = settings === undefined ? "several epochs" : `${settings.epochs} epochs`;
  const charts = datasets.flatMap((dataset) => {
    const own = rows.filter((row) => row.dataset === dataset.dataset);
    const methods = methodsOf(own, "unlimited");
    if (methods.length === 0) return [];
    const lines = methods.map((method) => methodLine(own, method, "unlimited"));
    const pass = { ...methodLine(own, passMethod(own), "one epoch"), dashed: true };
    return [chart(dataset, [...lines, pass], dataset.name, datasets.length > 1 ? HALF : COLUMN)];
  });
  if (charts.length === 0) return null;
  const places = passMethod(rows) === "e2cm" ? "" : ", exits at the same places";
  return lineFigure(
    charts,
    `Exits trained for ${epochs} on the frozen network. Dashed blue: E²CM with a shared covariance after one pass${places}.`,
    html``,
  );
}

function drawn({ title, ...own }: ReturnType<typeof chart>, width: number): Html {
  return html`<div><h4>${title}</h4>${lineChart(own, width)}</div>`;
}

function caption({ rows }: RivalsResult, { dataset, trained }: RivalData, paper: boolean): string {
  const seeds = distinct(rows.filter((row) => row.dataset === dataset && row.seed !== null).map(({ seed }) => seed));
  const over = seeds.length > 1 ? ` Means over ${seeds.length} seeds; E²CM has none.` : "";
  const network = trained === null ? "" : ` The network was trained here for ${trained.epochs} epochs.`;
  const theirs = paper
    ? " The paper's points are read from its figure; its network is larger and its FLOPs are counted in another way."
    : "";
  return `Each dot is one setting of the thresholds, measured on pictures that did not choose it.${over}${network}${theirs}`;
}

function methodLine(rows: RivalsResult["rows"], method: string, budget: string): Line {
  const series = rivalSeries(method);
  const own = rows.filter((row) => row.method === method && row.budget === budget && row.askedFraction !== null);
  const asked = distinct(own.map((row) => row.askedFraction!)).sort((a, b) => a - b);
  const found = asked.flatMap((fraction) => atFraction(rows, method, budget, fraction) ?? []);
  const different = found.filter(
    ({ macsFraction, mean }, index) =>
      index === 0 || macsFraction !== found[index - 1]!.macsFraction || mean !== found[index - 1]!.mean,
  );
  return {
    ...series,
    points: different.map(({ macsFraction, mean, deviation }) => ({
      x: macsFraction,
      y: mean,
      title: `${series.name}\n${percent(mean, 2)} right with ${percent(macsFraction, 1)} of the multiply-accumulates${deviation === undefined ? "" : ` (± ${points(deviation)} over seeds)`}`,
    })),
  };
}

function chart(
  { name, accuracy, network }: Pick<RivalData, "name" | "accuracy" | "network">,
  lines: readonly Line[],
  title: string,
  width: number,
): LineChart & { readonly title: string } {
  const all = lines.flatMap(({ points: own }) => own);
  const top = Math.max(accuracy, ...all.map(({ y }) => y));
  const low = Math.max(0, Math.floor(10 * Math.max(top - 0.7, Math.min(...all.map(({ y }) => y)))) / 10);
  return {
    title,
    label: `${name}: accuracy against multiply-accumulates, ${title}`,
    lines,
    x: costAxis(
      all.map(({ x }) => x),
      { narrow: width === HALF },
    ),
    y: percentAxis("test accuracy", [low, Math.min(1, top + 0.12 * (top - low))]),
    height: 400,
    phoneHeight: 330,
    reference: { y: accuracy, name: `${backboneName(network)} in full: ${percent(accuracy, 1)}` },
  };
}

function paperChart(theirs: readonly Figure[]): ReturnType<typeof chart> {
  const lines = theirs.map(({ method, network, points: own }): Line => {
    const series = rivalSeries(method);
    const title = (x: number, y: number) =>
      `${series.name}, ${network}, the paper\n${percent(y, 1)} right with ${percent(x)}`;
    return { ...series, points: own.map(([x, y]) => ({ x, y, title: title(x, y) })) };
  });
  const costs = lines.flatMap(({ points: own }) => own.map(({ x }) => x));
  const { network } = theirs[0]!;
  return {
    title: `The paper: ${network}`,
    label: `Accuracy against FLOPs in the paper's figure, ${network}`,
    lines,
    x: percentAxis("FLOPs, of the network with all exits", [0, Math.max(1, ...costs)]),
    y: percentAxis("test accuracy", [0, 1]),
    height: 400,
    phoneHeight: 330,
  };
}
