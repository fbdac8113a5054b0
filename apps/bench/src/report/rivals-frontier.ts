import { costAxis } from "../experiments/e2cm-cifar10/charts/frontier.ts";
import { COLUMN, figure, HALF, isPhone, NOT_MEASURED, responsive } from "./chart.ts";
import { type Html, html } from "./html.ts";
import { type Line, legacyChart } from "./lines.ts";
import { percent, points } from "./numbers.ts";
import { atFraction, methodsOf, passMethod, rivalSeries } from "./rivals-series.ts";
import type { RivalsResult } from "./rivals-types.ts";
import { backboneName, distinct } from "./series.ts";

type Dataset = RivalsResult["datasets"][number];

/** Accuracy against MACs of one epoch: a chart for each data set, the paper's figure beside it where there is one. */
export function oneEpochSection(result: RivalsResult): Html {
  const { datasets, figure: paper } = result;
  if (result.rows.length === 0) return NOT_MEASURED;
  return html`${datasets.map((dataset) => {
    const rows = result.rows.filter((row) => row.dataset === dataset.dataset);
    const lines = methodsOf(rows, "one epoch").map((method) => methodLine(rows, method, "one epoch"));
    const theirs = paper.filter((one) => one.dataset === dataset.dataset);
    const width = theirs.length === 0 ? COLUMN : HALF;
    const own = chart(dataset, lines, width, `Measured here: ${backboneName(dataset.network)}`);
    const beside = theirs.length === 0 ? null : paperChart(theirs);
    return figure(
      html`<h3>${dataset.name}</h3><div class="pair">${own}${beside}</div>`,
      caption(result, dataset, theirs.length > 0),
    );
  })}`;
}

/** The same for several epochs, with one pass of E²CM to compare. */
export function unlimitedSection(result: RivalsResult): Html {
  const { datasets, settings } = result;
  const epochs = settings === undefined ? "several epochs" : `${settings.epochs} epochs`;
  const charts = datasets.flatMap((dataset) => {
    const rows = result.rows.filter((row) => row.dataset === dataset.dataset);
    const methods = methodsOf(rows, "unlimited");
    if (methods.length === 0) return [];
    const lines = methods.map((method) => methodLine(rows, method, "unlimited"));
    const pass = { ...methodLine(rows, passMethod(rows), "one epoch"), dashed: true };
    return [chart(dataset, [...lines, pass], datasets.length > 1 ? HALF : COLUMN, dataset.name)];
  });
  if (charts.length === 0) return NOT_MEASURED;
  return figure(
    html`<div class="pair">${charts}</div>`,
    `Exits trained for ${epochs} on the frozen network. Dashed blue: E²CM with a shared covariance after one pass${passMethod(result.rows) === "e2cm" ? "" : ", exits at the same places"}.`,
  );
}

function caption({ rows }: RivalsResult, { dataset, trained }: Dataset, paper: boolean): string {
  const seeds = distinct(rows.filter((row) => row.dataset === dataset && row.seed !== null).map(({ seed }) => seed));
  const over = seeds.length > 1 ? ` Means over ${seeds.length} seeds; E²CM has none.` : "";
  const network = trained === null ? "" : ` The network was trained here for ${trained.epochs} epochs.`;
  const theirs = paper
    ? " The paper's points are read from its figure; its network is larger and its FLOPs are counted in another way."
    : "";
  return `Each dot is one setting of the thresholds, measured on pictures that did not choose it.${over}${network}${theirs}`;
}

function methodLine(rows: RivalsResult["rows"], method: string, budget: string): Line {
  const { name, color, dashed } = rivalSeries(method);
  const own = rows.filter((row) => row.method === method && row.budget === budget && row.askedFraction !== null);
  const asked = distinct(own.map((row) => row.askedFraction!)).sort((a, b) => a - b);
  const found = asked.flatMap((fraction) => atFraction(rows, method, budget, fraction) ?? []);
  const different = found.filter(
    ({ macsFraction, mean }, index) =>
      index === 0 || macsFraction !== found[index - 1]!.macsFraction || mean !== found[index - 1]!.mean,
  );
  return {
    name,
    color,
    ...(dashed === true ? { dashed } : {}),
    points: different.map(({ macsFraction, mean, deviation }) => ({
      x: macsFraction,
      y: mean,
      title: `${name}\n${percent(mean, 2)} right with ${percent(macsFraction, 1)} of the multiply-accumulates${deviation === undefined ? "" : ` (± ${points(deviation)} over seeds)`}`,
    })),
  };
}

function chart({ name, accuracy, network }: Dataset, lines: readonly Line[], width: number, title: string): Html {
  const all = lines.flatMap(({ points: own }) => own);
  const top = Math.max(accuracy, ...all.map(({ y }) => y));
  const low = Math.max(0, Math.floor(10 * Math.max(top - 0.7, Math.min(...all.map(({ y }) => y)))) / 10);
  return html`<div><h4>${title}</h4>${responsive(
    (drawn) =>
      legacyChart({
        label: `${name}: accuracy against multiply-accumulates, ${title}`,
        lines,
        x: costAxis(
          all.map(({ x }) => x),
          0,
          width === HALF,
        ),
        y: {
          label: "test accuracy",
          domain: [low, Math.min(1, top + 0.12 * (top - low))],
          format: (value) => percent(value),
        },
        width: drawn,
        height: isPhone(drawn) ? 330 : 400,
        reference: { y: accuracy, name: `${backboneName(network)} in full: ${percent(accuracy, 1)}` },
      }),
    width,
  )}</div>`;
}

function paperChart(theirs: RivalsResult["figure"]): Html {
  const lines = theirs.map(({ method, network, points: own }): Line => {
    const { name, color, dashed } = rivalSeries(method);
    return {
      name,
      color,
      ...(dashed === true ? { dashed } : {}),
      points: own.map(([x, y]) => ({
        x,
        y,
        title: `${name}, ${network}, the paper\n${percent(y, 1)} right with ${percent(x)}`,
      })),
    };
  });
  const all = lines.flatMap(({ points: own }) => own);
  const title = `The paper: ${theirs[0]!.network}`;
  return html`<div><h4>${title}</h4>${responsive(
    (width) =>
      legacyChart({
        label: `Accuracy against FLOPs in the paper's figure, ${theirs[0]!.network}`,
        lines,
        x: {
          ...costAxis(
            all.map(({ x }) => x),
            0,
            true,
          ),
          label: "FLOPs, of the network with all exits",
        },
        y: { label: "test accuracy", domain: [0, 1], format: (value) => percent(value) },
        width,
        height: isPhone(width) ? 330 : 400,
      }),
    HALF,
  )}</div>`;
}
