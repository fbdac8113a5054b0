import { COLUMN, figure, HALF } from "../../report/chart.ts";
import { type Html, html } from "../../report/html.ts";
import { costAxis, type Line, lineChart, lineFigure, percentAxis, type TitledChart } from "../../report/lines.ts";
import { percent, points } from "../../report/numbers.ts";
import { backboneName, distinct } from "../../report/series.ts";
import type { Figure, RivalData, RivalsResult } from "./schema.ts";
import { atFraction, methodsOf, passMethod, rivalSeries } from "./series.ts";

/** Accuracy against MACs of one epoch: a chart for each data set, the paper's figure beside it where there is one. */
export function oneEpochFigures(result: RivalsResult): Html[] {
  if (result.rows.length === 0) return [];
  return result.datasets.map((data) => {
    const theirs = result.figure.filter((one) => one.dataset === data.dataset);
    const width = theirs.length === 0 ? COLUMN : HALF;
    const rows = result.rows.filter((row) => row.dataset === data.dataset);
    const lines = methodsOf(rows, "one epoch").map((method) => methodLine(result, data, method, "one epoch"));
    const charts = [
      chart(data, lines, `Measured here: ${backboneName(data.network)}`, width),
      ...(theirs.length === 0 ? [] : [paperChart(theirs)]),
    ];
    const drawn = charts.map(({ title, ...own }) => html`<div><h4>${title}</h4>${lineChart(own, width)}</div>`);
    return figure(html`<h3>${data.name}</h3><div class="pair">${drawn}</div>`, caption(rows, data, theirs.length > 0));
  });
}

/** The same for several epochs, with one pass of E²CM to compare. */
export function unlimitedFigure(result: RivalsResult): Html | null {
  const { rows, datasets, settings } = result;
  const charts = datasets.flatMap((data) => {
    const own = rows.filter((row) => row.dataset === data.dataset);
    const methods = methodsOf(own, "unlimited");
    if (methods.length === 0) return [];
    const lines = methods.map((method) => methodLine(result, data, method, "unlimited"));
    const pass = { ...methodLine(result, data, passMethod(own), "one epoch"), dashed: true };
    return [chart(data, [...lines, pass], data.name, datasets.length > 1 ? HALF : COLUMN)];
  });
  if (charts.length === 0) return null;
  const epochs = settings === undefined ? "several epochs" : `${settings.epochs} epochs`;
  const places = passMethod(rows) === "e2cm" ? "" : ", exits at the same places";
  const words = `Exits trained for ${epochs} on the frozen network. Dashed blue: E²CM with a shared covariance after one pass${places}.`;
  return lineFigure(charts, words, html``);
}

function caption(rows: RivalsResult["rows"], { trained }: RivalData, paper: boolean): string {
  const seeds = distinct(rows.flatMap(({ seed }) => seed ?? []));
  const over = seeds.length > 1 ? ` Means over ${seeds.length} seeds; E²CM has none.` : "";
  const network = trained === null ? "" : ` The network was trained here for ${trained.epochs} epochs.`;
  const theirs = paper
    ? " The paper's points are read from its figure; its network is larger and its FLOPs are counted in another way."
    : "";
  return `Each dot is one setting of the thresholds, measured on pictures that did not choose it.${over}${network}${theirs}`;
}

function methodLine({ rows }: RivalsResult, { dataset }: RivalData, method: string, budget: string): Line {
  const series = rivalSeries(method);
  const kind = { dataset, method, budget };
  const asked = distinct(rows.flatMap(({ askedFraction }) => askedFraction ?? [])).sort((a, b) => a - b);
  const found = asked.flatMap((fraction) => atFraction(rows, kind, fraction) ?? []);
  const different = found.filter(({ macsFraction, mean }, index) => {
    const before = found[index - 1];
    return macsFraction !== before?.macsFraction || mean !== before.mean;
  });
  return {
    ...series,
    points: different.map(({ macsFraction, mean, deviation }) => ({
      x: macsFraction,
      y: mean,
      title: `${series.name}\n${percent(mean, 2)} right with ${percent(macsFraction, 1)} of the multiply-accumulates${deviation === undefined ? "" : ` (± ${points(deviation)} over seeds)`}`,
    })),
  };
}

const SIZE = { height: 400, phoneHeight: 330 };

function chart(
  { name, accuracy, network }: Pick<RivalData, "name" | "accuracy" | "network">,
  lines: readonly Line[],
  title: string,
  width: number,
): TitledChart {
  const all = lines.flatMap(({ points: own }) => own);
  const top = Math.max(accuracy, ...all.map(({ y }) => y));
  const low = Math.max(0, Math.floor(10 * Math.max(top - 0.7, Math.min(...all.map(({ y }) => y)))) / 10);
  const costs = all.map(({ x }) => x);
  return {
    ...SIZE,
    title,
    label: `${name}: accuracy against multiply-accumulates, ${title}`,
    lines,
    x: costAxis(costs, { narrow: width === HALF }),
    y: percentAxis("test accuracy", [low, Math.min(1, top + 0.12 * (top - low))]),
    reference: { y: accuracy, name: `${backboneName(network)} in full: ${percent(accuracy, 1)}` },
  };
}

function paperChart(theirs: readonly Figure[]): TitledChart {
  const lines = theirs.map(({ method, network, points: own }): Line => {
    const series = rivalSeries(method);
    const title = (x: number, y: number) =>
      `${series.name}, ${network}, the paper\n${percent(y, 1)} right with ${percent(x)}`;
    return { ...series, points: own.map(([x, y]) => ({ x, y, title: title(x, y) })) };
  });
  const costs = lines.flatMap(({ points: own }) => own.map(({ x }) => x));
  const { network } = theirs[0]!;
  return {
    ...SIZE,
    title: `The paper: ${network}`,
    label: `Accuracy against FLOPs in the paper's figure, ${network}`,
    lines,
    x: percentAxis("FLOPs, of the network with all exits", [0, Math.max(1, ...costs)]),
    y: percentAxis("test accuracy", [0, 1]),
  };
}
