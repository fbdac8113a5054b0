import * as Plot from "@observablehq/plot";
import { COLUMN, draw, figure, isPhone, responsive } from "../../report/chart.ts";
import type { Html } from "../../report/html.ts";
import { type Line, lineChart } from "../../report/lines.ts";
import { decimal, percent } from "../../report/numbers.ts";
import { distinct } from "../../report/series.ts";
import { meanOver, ORDERS } from "./orders.ts";
import type { CurveRow, LayerRow, Order } from "./schema.ts";

/** Accuracy against computation for one threshold at every exit, a line an order. */
export function curvesFigure(curves: readonly CurveRow[]): Html {
  const lines: Line[] = distinct(curves.map(({ order }) => order)).map((order) => {
    const own = curves.filter((row) => row.order === order);
    const points = distinct(own.map(({ threshold }) => threshold)).map((threshold) => {
      const at = own.filter((row) => row.threshold === threshold);
      const [x, y] = [meanOver(at, "macsFraction"), meanOver(at, "accuracy")];
      return {
        x,
        y,
        title: `${ORDERS[order].name}, threshold ${threshold}: ${percent(y, 1)} right at ${percent(x, 1)} of the MACs`,
      };
    });
    return { ...ORDERS[order], points: points.sort((a, b) => a.x - b.x) };
  });
  const all = lines.flatMap(({ points }) => points);
  const most = Math.max(...all.map(({ x }) => x));
  const [low, high] = [Math.min(...all.map(({ y }) => y)), Math.max(...all.map(({ y }) => y))];
  const chart = {
    label: "Accuracy against multiply-accumulates",
    lines,
    height: 380,
    x: {
      label: "multiply-accumulates, products with zeros left out",
      domain: [0, most * 1.02] as const,
      format: (value: number) => percent(value),
    },
    y: {
      label: "right",
      domain: [Math.floor(low * 20) / 20, Math.min(1, Math.ceil(high * 50) / 50)] as const,
      format: (value: number) => percent(value),
    },
  };
  return figure(
    lineChart(chart, COLUMN),
    "One threshold on the largest probability for all exits, from leaving at the first exit to leaving at the last; means over seeds.",
  );
}

/** Zeros of every layer, as in the paper: together, in order, and the difference. */
export function layersFigure(layers: readonly LayerRow[]): Html | null {
  const paths = distinct(layers.map(({ path }) => path));
  const of = (order: Order) => {
    const own = layers.filter((row) => row.order === order);
    return own.length === 0
      ? null
      : paths.map((path) =>
          meanOver(
            own.filter((row) => row.path === path),
            "sparsity",
          ),
        );
  };
  const [together, sequential] = [of("together"), of("sequential")];
  if (together === null || sequential === null) return null;
  const panels = [
    { title: "together", values: together },
    { title: "in order", values: sequential },
    { title: "together minus in order", values: together.map((value, at) => value - sequential[at]!) },
  ];
  const bars = panels.flatMap(({ title, values }) =>
    values.map((value, at) => ({ title, at: at + 1, value, isHead: isLinear(paths[at]!), path: paths[at]! })),
  );
  const chart = (width: number) =>
    draw("Share of zeros in every layer", {
      width,
      height: 360,
      marginLeft: 44,
      marginRight: 12,
      fy: { domain: panels.map(({ title }) => title), axis: null },
      x: { type: "linear", domain: [0, paths.length + 1], label: null },
      y: { domain: [Math.min(0, ...bars.map(({ value }) => value)), 1], label: null },
      marks: [
        Plot.axisX({ ticks: isPhone(width) ? 4 : 8, tickSize: 0, label: null, fill: "var(--ink-2)" }),
        Plot.axisY({
          ticks: 3,
          tickSize: 0,
          label: null,
          tickFormat: (value: number) => percent(value),
          fill: "var(--ink-2)",
        }),
        Plot.ruleY([0], { stroke: "var(--axis)" }),
        Plot.rectY(bars, {
          fy: "title",
          x1: (bar: (typeof bars)[number]) => bar.at - 0.4,
          x2: (bar: (typeof bars)[number]) => bar.at + 0.4,
          y: "value",
          fill: (bar: (typeof bars)[number]) => (bar.isHead ? "var(--red)" : "var(--blue)"),
          title: (bar: (typeof bars)[number]) => `${bar.path}: ${decimal(bar.value, 3)}`,
        }),
        Plot.text(panels, {
          fy: "title",
          frameAnchor: "top-left",
          dx: 4,
          dy: 2,
          text: "title",
          fontWeight: 600,
          fill: "var(--ink)",
          stroke: "var(--paper)",
          strokeWidth: 4,
        }),
      ],
    });
  return figure(
    responsive(chart, COLUMN),
    "Layers in the order of the network, then the exits. Blue: convolutions. Red: linear layers, the exits' and the network's own.",
  );
}

function isLinear(path: string): boolean {
  return path.startsWith("exits.") || /^backbone\.(weights\.)?linear\.weight$/.test(path);
}
