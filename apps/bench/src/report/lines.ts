import * as Plot from "@observablehq/plot";
import { AXIS, axisName, COLUMN, draw, figure, HALF, HALO, isPhone, responsive } from "./chart.ts";
import { type Html, html, raw } from "./html.ts";
import { type Pixels, type Placed, placeLabels, placeName } from "./labels.ts";
import { percent } from "./numbers.ts";

interface Point {
  readonly x: number;
  readonly y: number;
  readonly title: string;
}

export interface Line {
  readonly name: string;
  readonly color: string;
  readonly dashed?: boolean;
  /** Thin and without its name: one of many that a bolder line sums up. */
  readonly quiet?: boolean;
  readonly points: readonly Point[];
}

export interface Axis {
  /** Text, or a shorter one for a phone. */
  readonly label: string | ((phone: boolean) => string);
  readonly domain: readonly [number, number];
  readonly format: (value: number) => string;
}

export interface LineChart {
  /** What it shows, in words. */
  readonly label: string;
  readonly lines: readonly Line[];
  readonly x: Axis;
  readonly y: Axis;
  /** In pixels on a desk; a phone's has its own. Default 320 and 300. */
  readonly height?: number;
  readonly phoneHeight?: number;
  /** A horizontal line with its name, e.g. the full network. */
  readonly reference?: { readonly y: number; readonly name: string } | undefined;
  /** A point that stands out, with its name: the setting that was chosen. */
  readonly mark?: { readonly x: number; readonly y: number; readonly name: string } | undefined;
  /** Draws x = y, e.g. where time falls exactly as computation does. */
  readonly diagonal?: string;
}

const MARGIN = { left: 46, right: 18, top: 34, bottom: 44 };

/** A chart with its title; side by side with others where there are several. */
export interface TitledChart extends LineChart {
  readonly title: string;
}

/**
 * Charts in a figure, each drawn for a desk and for a phone: one over the whole column, several over half of it each. Where one of them
 * has no room for names, and on a phone, a legend above names the curves of all.
 */
export function lineFigure(charts: readonly TitledChart[], caption: string, before?: Html): Html {
  const tag = raw(before === undefined ? "h3" : "h4");
  const draw = (width: number) => {
    const drawn = charts.map((chart) => ({ title: chart.title, plan: planOf(chart, width) }));
    const named = !isPhone(width) && drawn.every(({ plan }) => plan.labels !== null);
    const plots = drawn.map(
      ({ title, plan }) =>
        html`<div>${title === "" ? null : html`<${tag}>${title}</${tag}>`}${drawLines(plan, named)}</div>`,
    );
    return html`${named ? null : legendOf(charts)}<div class="pair">${plots}</div>`;
  };
  return figure(html`${before}${responsive(draw, charts.length > 1 ? HALF : COLUMN)}`, caption);
}

/** Lines with dots over two linear axes, named beside themselves or in a legend above; for a desk and for a phone. */
export function lineChart(chart: LineChart, wide: number): Html {
  return responsive((width) => {
    const plan = planOf(chart, width);
    const named = !isPhone(width) && plan.labels !== null;
    return html`${named ? null : legendOf([chart])}${drawLines(plan, named)}`;
  }, wide);
}

/** The curves' names, each beside a piece of its line. */
function legendOf(charts: readonly LineChart[]): Html | null {
  const all = charts.flatMap(({ lines }) => lines.filter(({ quiet, points }) => quiet !== true && points.length > 0));
  const entries = [...new Map(all.map((line) => [`${line.name} ${line.color}`, line])).values()];
  if (entries.length === 0) return null;
  const entry = ({ name, color, dashed }: Line) =>
    html`<li style="${raw(`color:${color}`)}"><i class="${dashed === true ? "dashed" : "solid"}"></i>${name}</li>`;
  return html`<ul class="legend">${entries.map(entry)}</ul>`;
}

/** An axis of fractions, in percent. */
export function percentAxis(label: Axis["label"], domain: Axis["domain"]): Axis {
  return { label, domain, format: (value) => percent(value) };
}

/** Multiply-accumulates, from `low` to all of the full network's or more; said in fewer words where it is narrow. */
export function costAxis(fractions: readonly number[], { low = 0, narrow = false } = {}): Axis {
  const label = (phone: boolean) =>
    phone || narrow
      ? "multiply-accumulates, of the full network's"
      : "multiply-accumulates, share of the full network's";
  return percentAxis(label, [low, Math.max(1, ...fractions)]);
}

/** An axis of whole numbers. */
export function countAxis(label: string, domain: Axis["domain"]): Axis {
  return { label, domain, format: (value) => (Number.isInteger(value) ? String(value) : "") };
}

/** A chart in pixels, and where its curves' names have room; null where some has none. */
interface Plan {
  readonly chart: LineChart;
  readonly width: number;
  readonly height: number;
  readonly shown: readonly Line[];
  readonly labels: readonly Placed[] | null;
  /** Where the name of the point that stands out has room. */
  readonly markName: Placed | undefined;
}

function planOf(chart: LineChart, width: number): Plan {
  const { lines, x, y, reference, diagonal, mark } = chart;
  const height = isPhone(width) ? (chart.phoneHeight ?? 300) : (chart.height ?? 320);
  const right = width - MARGIN.right;
  const bottom = height - MARGIN.bottom;
  const pixelX = scaleOf(x.domain, [MARGIN.left, right]);
  const pixelY = scaleOf(y.domain, [bottom, MARGIN.top]);
  const pixel = ({ x, y }: Pick<Point, "x" | "y">) => [pixelX(x), pixelY(y)] as const;
  const shown = lines.map((line) => ({ ...line, points: clip(line.points, y.domain[0]) }));
  const curves = shown
    .filter((line) => line.points.length > 0 && line.quiet !== true)
    .map(({ name, points }) => ({ name, pixels: points.map(pixel) }));
  const bounds = { left: MARGIN.left + 2, right: width - 2, top: MARGIN.top + 4, bottom: bottom - 4 };
  const others = [
    ...(reference ? [horizontal(pixelY(reference.y), MARGIN.left, right, reference.name.length)] : []),
    ...(diagonal === undefined ? [] : [diagonalEnds(chart).map((value) => pixel({ x: value, y: value }))]),
  ];
  const labels = placeLabels(curves, bounds, [
    ...others,
    ...(mark === undefined ? [] : [markPixels(pixel(mark), mark.name.length)]),
  ]);
  const drawn = [...shown.map(({ points }) => points.map(pixel)), ...others];
  const markName = mark && placeName(mark.name, pixel(mark), bounds, drawn, labels ?? []);
  return { chart, width, height, shown, labels, markName };
}

/** @param named Whether names stand beside the curves. */
function drawLines({ chart, width, height, shown, labels, markName }: Plan, named: boolean): Html {
  const { label, x, y, reference, diagonal, mark } = chart;
  const phone = isPhone(width);
  const textOf = (axis: Axis) => (typeof axis.label === "string" ? axis.label : axis.label(phone));
  const words = (name: string, at: Pixels[number], options: Plot.TextOptions) =>
    Plot.text([at], { text: () => name, fill: AXIS.fill, ...HALO, ...options });
  const ends = diagonalEnds(chart).map((value) => [value, value] as const);
  return draw(label, {
    width,
    height,
    marginLeft: MARGIN.left,
    marginRight: MARGIN.right,
    marginTop: MARGIN.top,
    marginBottom: MARGIN.bottom,
    x: { domain: [...x.domain], label: null },
    y: { domain: [...y.domain], label: null },
    marks: [
      Plot.gridY({ ticks: 5, stroke: "var(--grid)", strokeOpacity: 1 }),
      Plot.axisY({ ...AXIS, ticks: 5, tickFormat: y.format }),
      Plot.axisX({ ...AXIS, ticks: phone ? 4 : 6, tickFormat: x.format }),
      Plot.ruleY([y.domain[0]], { stroke: "var(--axis)" }),
      axisName(textOf(x), { dy: 36 }),
      axisName(textOf(y), { frameAnchor: "top-left", dx: 4 - MARGIN.left, dy: -24, textAnchor: "start" }),
      diagonal === undefined
        ? null
        : [
            Plot.line(ends, { stroke: "var(--ink-2)", strokeDasharray: "3 3" }),
            words(diagonal, ends[1]!, { textAnchor: "end", dx: -10, dy: -8 }),
          ],
      reference && [
        Plot.ruleY([reference.y], { stroke: "var(--ink-2)", strokeDasharray: "3 3" }),
        words(reference.name, [x.domain[0], reference.y], { textAnchor: "start", dx: 4, dy: -9 }),
      ],
      shown.map((line) =>
        Plot.line(line.points, {
          x: "x",
          y: "y",
          stroke: line.color,
          strokeWidth: line.quiet === true ? 1 : 2,
          ...(line.dashed === true ? { strokeDasharray: "6 4" } : {}),
        }),
      ),
      shown.map((line) =>
        Plot.dot(
          line.points.filter((point) => point.title !== ""),
          { x: "x", y: "y", r: 3.5, fill: line.color, stroke: "var(--paper)", strokeWidth: 1.5, title: "title" },
        ),
      ),
      mark && [
        Plot.dot([[mark.x, mark.y]], { r: 8, stroke: "var(--ink)", strokeWidth: 2 }),
        nameAt(markName!, "var(--ink)"),
      ],
      (named ? labels! : []).map((placed) => nameAt(placed, shown.find((line) => line.name === placed.name)!.color)),
    ],
  });
}

/** A name in bold where it was placed, in pixels. */
function nameAt({ name, x, y }: Placed, fill: string): Plot.Text {
  return Plot.text([name], {
    x: { value: [x], scale: null },
    y: { value: [y], scale: null },
    text: [name],
    textAnchor: "start",
    fontWeight: 600,
    fill,
    ...HALO,
  });
}

/** Values of an axis to pixels. */
function scaleOf([from, to]: Axis["domain"], [start, end]: readonly [number, number]): (value: number) => number {
  return (value) => start + ((value - from) / (to - from)) * (end - start);
}

/** Where a mark and its name, on either side of it, may be. */
function markPixels([x, y]: Pixels[number], letters: number): Pixels {
  return [
    [x - 12 - letters * 7, y + 12],
    [x, y],
    [x + 12 + letters * 7, y + 12],
  ];
}

function diagonalEnds({ x: { domain: x }, y: { domain: y } }: LineChart): readonly [number, number] {
  return [Math.max(x[0], y[0]), Math.min(x[1], y[1])];
}

/** The reference line and, above its left end, the room of its name. */
function horizontal(y: number, left: number, right: number, letters: number): Pixels {
  return [
    [left, y - 9],
    [left + letters * 7, y - 9],
    [left, y],
    [right, y],
  ];
}

/** The part of a curve above `floor`; where it crosses, the crossing is added without a title, so that it gets no dot. */
function clip(points: readonly Point[], floor: number): Point[] {
  return points.flatMap((point, index) => {
    const next = points[index + 1];
    const kept = point.y >= floor ? [point] : [];
    if (next === undefined || point.y >= floor === next.y >= floor) return kept;
    const part = (floor - point.y) / (next.y - point.y);
    return [...kept, { x: point.x + part * (next.x - point.x), y: floor, title: "" }];
  });
}
