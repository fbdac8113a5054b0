import { isMain, methodName, ruleSeries } from "../experiments/e2cm/words.ts";
import { COLUMN, figure, HALF, isPhone, NOT_MEASURED, responsive } from "./chart.ts";
import { type Html, html } from "./html.ts";
import { type Line, legacyChart } from "./lines.ts";
import { percent, points } from "./numbers.ts";
import { protocolName, protocolsOf } from "./protocols.ts";
import { backboneName, capital, distinct } from "./series.ts";
import type { E2cmCifar10Result, FrontierRow } from "./types.ts";

/** Accuracy against MACs: one chart for each backbone and protocol, one curve for each method. */
export function frontierSection(result: E2cmCifar10Result): Html {
  const rows = result.rows.filter(isMain);
  if (rows.length === 0) return NOT_MEASURED;
  return html`${mainFirst(result, rows).map((backbone) =>
    backboneFrontier(
      result,
      backbone,
      rows.filter((row) => row.backbone === backbone),
    ),
  )}`;
}

/** Backbones of these rows, the headline's first. */
export function mainFirst(result: E2cmCifar10Result, rows: readonly { readonly backbone: string }[]): string[] {
  const main = result.backbones.at(-1)?.backbone;
  return distinct(rows.map((row) => row.backbone)).sort((a, b) => Number(b === main) - Number(a === main));
}

/** Accuracy of the plain network; undefined when the run did not say. */
export function plainAccuracy(result: E2cmCifar10Result, backbone: string): number | undefined {
  const listed = result.backbones.find((one) => one.backbone === backbone)?.accuracy;
  return listed ?? (result.backbones.length === 0 ? result.full?.accuracy : undefined);
}

function backboneFrontier(result: E2cmCifar10Result, backbone: string, rows: readonly FrontierRow[]): Html {
  const full = plainAccuracy(result, backbone);
  const protocols = protocolsOf(rows);
  const domain = accuracyWindow(rows, full);
  const lowest = Math.min(...rows.map((row) => row.accuracy));
  const euclidean = distinct(rows.filter((row) => row.metric === "euclidean").map(shortName));
  const charts = protocols.map((protocol) => {
    const lines = methodLines(rows.filter((row) => row.protocol === protocol));
    const name = protocolName(protocol);
    return html`<div><h4>${name}</h4>${responsive(
      (width) =>
        legacyChart({
          label: `${backboneName(backbone)}: accuracy against multiply-accumulates, ${name}`,
          lines,
          x: costAxis(
            rows.map((row) => row.macsFraction),
            isPhone(width),
          ),
          y: { label: "test accuracy", domain, format: (value) => percent(value) },
          width,
          height: isPhone(width) ? 330 : 380,
          ...(full === undefined
            ? {}
            : { reference: { y: full, name: `${backboneName(backbone)} in full: ${percent(full, 1)}` } }),
        }),
      protocols.length > 1 ? HALF : COLUMN,
    )}</div>`;
  });
  const below = lowest < domain[0] ? ` The curves go on below the frame, down to ${percent(lowest, 1)}.` : "";
  return figure(
    html`<h3>${backboneName(backbone)}</h3><div class="pair">${charts}</div>`,
    `${euclidean.length === 0 ? "" : `${capital(euclidean.join(", "))}: on the Euclidean distance. `}Each dot is one setting of the thresholds, measured on the test pictures. Higher and further left is better.${below}`,
  );
}

/** One curve for each metric and rule, cheapest point first. */
function methodLines(rows: readonly FrontierRow[]): Line[] {
  return distinct(rows.map((row) => methodName(row.metric, row.rule))).map((method) => {
    const own = rows.filter((row) => methodName(row.metric, row.rule) === method);
    const name = shortName(own[0]!);
    return { name, color: ruleSeries(own[0]!.rule).color, points: frontierPoints(method, own) };
  });
}

/** Rules are rules on the Euclidean distance unless the name says otherwise; the caption says so. */
function shortName({ metric, rule }: FrontierRow): string {
  return metric === "euclidean" ? ruleSeries(rule).name : methodName(metric, rule);
}

/** Points of a curve for {@link lineChart}, cheapest first. */
export function frontierPoints(name: string, rows: readonly FrontierRow[]): Line["points"] {
  return [...rows]
    .sort((a, b) => a.macsFraction - b.macsFraction)
    .map((row) => ({
      x: row.macsFraction,
      y: row.accuracy,
      title: `${name}\n${percent(row.accuracy, 2)} right with ${percent(row.macsFraction, 1)} of the multiply-accumulates`,
    }));
}

export function costAxis(fractions: readonly number[], phone = false, low = 0) {
  const label = phone
    ? "multiply-accumulates, of the full network's"
    : "multiply-accumulates, share of the full network's";
  return { label, domain: [low, Math.max(1, ...fractions)] as const, format: (value: number) => percent(value) };
}

/**
 * Accuracies worth showing: from what the weakest method still answers at 60 % of the cost (but within 5 to 40 points of
 * the full network) to a little above the best.
 */
export function accuracyWindow(rows: readonly FrontierRow[], full: number | undefined): readonly [number, number] {
  const best = Math.max(full ?? 0, ...rows.map((row) => row.accuracy));
  const methods = distinct(rows.map((row) => `${row.metric} ${row.rule} ${row.variant} ${row.protocol}`));
  const at60 = methods.map((method) => {
    const own = rows.filter((row) => `${row.metric} ${row.rule} ${row.variant} ${row.protocol}` === method);
    const cheap = own.filter((row) => row.macsFraction <= 0.6).map((row) => row.accuracy);
    return cheap.length === 0 ? best : Math.max(...cheap);
  });
  const low = Math.min(best - 0.05, Math.max(best - 0.4, Math.min(...at60) - 0.02));
  const step = best - low > 0.15 ? 0.05 : 0.02;
  const top = best + (best - low) * 0.12;
  return [Math.max(0, Math.floor(low / step) * step), Math.min(1, top)];
}

/** "0.5 points below the full network". */
export function against(accuracy: number, full: number): string {
  const lost = full - accuracy;
  if (Math.abs(lost) < 0.00005) return "as the full network";
  return lost > 0 ? `${points(lost)} below the full network` : `${points(-lost)} above the full network`;
}
