import * as Plot from "@observablehq/plot";
import { AXIS, draw, figure } from "../../../report/chart.ts";
import { type Html, html } from "../../../report/html.ts";
import { percent } from "../../../report/numbers.ts";
import { backboneName, grouped, ramp, rampKey } from "../../../report/series.ts";
import { metricSeries } from "../../e2cm/words.ts";
import type { Confusion, E2cmCifar10Result } from "../schema.ts";
import { byBackbone } from "../tables.ts";

const MOST = 8;
const SIZE = 218;
const NAMES = 68;

/** Confusion matrices by depth, as small heat maps: one row of them for each backbone and metric. */
export function confusionFigures(result: E2cmCifar10Result): Html[] {
  return byBackbone(result, result.confusion).flatMap(([backbone, own]) =>
    grouped(own, ({ metric }) => metric).map(([metric, matrices]) => {
      const all = matrices.sort((a, b) => a.depth - b.depth);
      const shown = spread(all, MOST);
      const some = shown.length < all.length ? ` ${shown.length} of ${all.length} exits are shown.` : "";
      return figure(
        html`<h3>${backboneName(backbone)}, ${metricSeries(metric).name}</h3>
${rampKey("100 % of a row")}
<div class="strip">${shown.map((one) => heatMap(one, result.classNames))}</div>`,
        `Rows are the true class, columns the answer; the stronger a cell, the larger the share of its row. A clean diagonal is a perfect exit.${some}`,
      );
    }),
  );
}

function heatMap({ matrix, exit }: Confusion, classNames: readonly string[]): Html {
  const name = (index: number) => classNames[index] ?? `class ${index}`;
  const names = matrix.map((_, index) => name(index));
  const total = sum(matrix.map(sum));
  const right = total === 0 ? 0 : sum(matrix.map((row, index) => row[index] ?? 0)) / total;
  const cells = matrix.flatMap((row, truth) =>
    row.map((count, predicted) => {
      const share = count / Math.max(1, sum(row));
      return {
        truth: String(truth),
        predicted: String(predicted),
        color: ramp(share),
        title: `${name(truth)} → ${name(predicted)}: ${count} (${percent(share)})`,
      };
    }),
  );
  const worst = worstMistake(matrix, name);
  const indices = matrix.map((_, index) => String(index));
  const label = (value: string) => shorten(names[Number(value)]!);
  const axis = { ...AXIS, tickFormat: label, fontSize: 10 };
  const svg = draw(`Confusion matrix of ${exit}`, {
    width: SIZE,
    height: SIZE,
    marginLeft: NAMES,
    marginBottom: NAMES,
    marginTop: 2,
    marginRight: 2,
    padding: 0.06,
    x: { domain: indices, label: null },
    y: { domain: indices, label: null },
    marks: [
      Plot.axisY({ ...axis, tickPadding: 4 }),
      Plot.axisX({ ...axis, tickRotate: -90, tickPadding: 4 }),
      Plot.cell(cells, { x: "predicted", y: "truth", fill: "color", title: "title" }),
    ],
    color: { type: "identity" },
  });
  return html`<div><p><b>${exit}</b>: ${percent(right, 1)} right</p>${svg}${
    worst === undefined ? null : html`<p>most often: ${worst}</p>`
  }</div>`;
}

/** "cat for dog (12 %)": the cell beside the diagonal that holds the largest share of its row. */
function worstMistake(matrix: Confusion["matrix"], name: (index: number) => string): string | undefined {
  const mistakes = matrix.flatMap((row, truth) =>
    row.flatMap((count, predicted) =>
      predicted === truth || count === 0 ? [] : [{ truth, predicted, share: count / sum(row) }],
    ),
  );
  const worst = mistakes.reduce(
    (a, b) => (b.share > a.share ? b : a),
    mistakes[0] ?? { truth: 0, predicted: 0, share: 0 },
  );
  if (worst.share === 0) return undefined;
  return `${name(worst.truth)} taken for ${name(worst.predicted)} (${percent(worst.share)})`;
}

/** At most `most` items, evenly spread, with the first and the last. */
function spread<T>(items: readonly T[], most: number): T[] {
  if (items.length <= most) return [...items];
  const wanted = Array.from({ length: most }, (_, index) => Math.round((index * (items.length - 1)) / (most - 1)));
  return wanted.map((index) => items[index]!);
}

function shorten(name: string): string {
  return name.length > 11 ? `${name.slice(0, 10)}…` : name;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
