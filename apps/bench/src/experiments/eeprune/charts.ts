import * as Plot from "@observablehq/plot";
import { COLUMN, draw, figure, responsive } from "../../report/chart.ts";
import { type Html, html } from "../../report/html.ts";
import { lineChart, percentAxis } from "../../report/lines.ts";
import { count, exact, percent } from "../../report/numbers.ts";
import { distinct, ramp, rampKey } from "../../report/series.ts";
import type { Mean } from "./means.ts";
import type { EepruneResult } from "./schema.ts";
import { averageOf } from "./tables.ts";
import { methodColor, methodName } from "./words.ts";

/** Methods that a figure shows with a name. */
const NAMED = ["whole", "random", "eeprune", "coverage", "el2n", "forgetting", "areaUnderMargin"];

/** Accuracy by how much was pruned, a line a method; the full training as a reference. */
export function accuracyChart(means: readonly Mean[], label: string): Html | null {
  const own = means.filter(({ ratio, budget }) => ratio > 0 && budget === "epochs");
  const ratios = own.map(({ ratio }) => ratio);
  if (new Set(ratios).size < 2) return null;
  const full = means.find(({ method, ratio }) => method === "whole" && ratio === 0);
  const values = [...own.map(({ mean }) => mean), ...(full === undefined ? [] : [full.mean])];
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const lines = distinct(own.map(({ method }) => method)).map((method) => ({
    name: methodName(method),
    color: methodColor(method),
    dashed: method === "whole" || method === "random",
    quiet: !NAMED.includes(method),
    points: own
      .filter((one) => one.method === method)
      .sort((a, b) => a.ratio - b.ratio)
      .map(({ ratio, mean, samplesSeen }) => ({
        x: ratio,
        y: mean,
        title: `${methodName(method)}, ${percent(ratio)} pruned: ${exact(mean)} right, ${count(samplesSeen)} samples seen`,
      })),
  }));
  const chart = {
    label,
    lines,
    height: 380,
    x: percentAxis("share that is pruned", [Math.min(...ratios), Math.max(...ratios)]),
    y: {
      label: "right",
      domain: [Math.max(0, least - 0.1 * (most - least)), most + 0.05 * (most - least)] as const,
      format: (value: number) => percent(value, 1),
    },
    reference: full === undefined ? undefined : { y: full.mean, name: "all pictures, all epochs" },
  };
  return figure(
    lineChart(chart, COLUMN),
    "Test pictures answered right after training from scratch, as often on each kept picture as in the training on all. Means over seeds.",
  );
}

/** Classes against methods: how much of each class goes. */
export function classMap({ classes, classSize }: EepruneResult, ratio: number): Html | null {
  const own = classes.filter((one) => one.ratio === ratio);
  if (own.length === 0) return null;
  const methods = distinct(own.map(({ method }) => method));
  const cells = methods.flatMap((method) =>
    classSize.map((size, k) => {
      const share = averageOf(own, method, k) / size;
      return {
        method: methodName(method),
        class: String(k),
        share,
        color: ramp(share),
        title: `${methodName(method)}, class ${k}: ${percent(share, 1)} of ${count(size)} go`,
      };
    }),
  );
  const map = (width: number) =>
    draw(`How much of each class every method prunes, ${percent(ratio)} in all`, {
      width,
      height: 60 + methods.length * 26,
      marginLeft: 190,
      marginBottom: 36,
      marginTop: 4,
      marginRight: 4,
      padding: 0.05,
      x: { label: null, domain: [...classSize.keys()].map(String) },
      y: { label: null, domain: methods.map(methodName) },
      marks: [
        Plot.axisY({ tickSize: 0, fill: "var(--ink-2)", label: null }),
        Plot.axisX({ tickSize: 0, fill: "var(--ink-2)", label: null }),
        Plot.cell(cells, { x: "class", y: "method", fill: "color", title: "title" }),
      ],
      color: { type: "identity" },
    });
  return figure(
    html`<h3>${percent(ratio)} pruned</h3>${rampKey("100 % of a class")}${responsive(map)}`,
    "The stronger a cell, the larger the share of the class (columns) that goes. An even row prunes all classes alike.",
  );
}

/** The ring: what would go after some epochs. */
export function toyFigure({ toy }: EepruneResult): Html | null {
  if (toy.length === 0) return null;
  const frames = toy.map(({ epoch, x, y, label, pruned }) => {
    const points = x.map((own, i) => ({
      x: own,
      y: y[i]!,
      color: pruned[i] === 1 ? "var(--red)" : ramp(0.15 + label[i]! / 8),
    }));
    const share = pruned.reduce((sum, one) => sum + one, 0) / pruned.length;
    const svg = draw(`The ring after epoch ${epoch}`, {
      width: 218,
      height: 218,
      margin: 6,
      x: { axis: null, domain: [-1.05, 1.05] },
      y: { axis: null, domain: [-1.05, 1.05] },
      marks: [Plot.dot(points, { x: "x", y: "y", r: 1.6, fill: "color" })],
      color: { type: "identity" },
    });
    return html`<div><p><b>Epoch ${epoch}</b>: ${percent(share, 1)} would go</p>${svg}</div>`;
  });
  return figure(
    html`<div class="strip">${frames}</div>`,
    "A ring of five classes by angle. Red: right at both exits and surer than 90 % at the early one. The borders between classes stay.",
  );
}
