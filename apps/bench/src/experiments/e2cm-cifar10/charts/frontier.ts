import { type Html, html } from "../../../report/html.ts";
import { costAxis, type Line, lineFigure, percentAxis } from "../../../report/lines.ts";
import { percent } from "../../../report/numbers.ts";
import { backboneName, capital, distinct } from "../../../report/series.ts";
import { isMain, methodName, ruleSeries } from "../../e2cm/words.ts";
import { protocolName, protocolsOf } from "../protocols.ts";
import type { E2cmCifar10Result, FrontierRow } from "../schema.ts";
import { mainFirst, plainAccuracy } from "../tables.ts";

/** Accuracy against MACs: a figure for each backbone, a chart for each protocol, a curve for each method. */
export function frontierFigures(result: E2cmCifar10Result): Html[] {
  const rows = result.rows.filter(isMain);
  return mainFirst(result, rows).map((backbone) => {
    const own = rows.filter((row) => row.backbone === backbone);
    const full = plainAccuracy(result, backbone);
    const y = percentAxis("test accuracy", accuracyWindow(own, full));
    const lowest = Math.min(...own.map((row) => row.accuracy));
    const euclidean = distinct(own.filter((row) => row.metric === "euclidean").map(shortName));
    const charts = protocolsOf(own).map((protocol) => ({
      title: protocolName(protocol),
      label: `${backboneName(backbone)}: accuracy against multiply-accumulates, ${protocolName(protocol)}`,
      lines: methodLines(own.filter((row) => row.protocol === protocol)),
      x: costAxis(own.map((row) => row.macsFraction)),
      y,
      height: 380,
      phoneHeight: 330,
      reference:
        full === undefined ? undefined : { y: full, name: `${backboneName(backbone)} in full: ${percent(full, 1)}` },
    }));
    const below = lowest < y.domain[0] ? ` The curves go on below the frame, down to ${percent(lowest, 1)}.` : "";
    return lineFigure(
      charts,
      `${euclidean.length === 0 ? "" : `${capital(euclidean.join(", "))}: on the Euclidean distance. `}Each dot is one setting of the thresholds, measured on the test pictures. Higher and further left is better.${below}`,
      html`<h3>${backboneName(backbone)}</h3>`,
    );
  });
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

/** Points of a curve, cheapest first. */
export function frontierPoints(name: string, rows: readonly FrontierRow[]): Line["points"] {
  return [...rows]
    .sort((a, b) => a.macsFraction - b.macsFraction)
    .map((row) => ({
      x: row.macsFraction,
      y: row.accuracy,
      title: `${name}\n${percent(row.accuracy, 2)} right with ${percent(row.macsFraction, 1)} of the multiply-accumulates`,
    }));
}

/**
 * Accuracies worth showing: from what the weakest method still answers at 60 % of the cost (but within 5 to 40 points of
 * the full network) to a little above the best.
 */
export function accuracyWindow(rows: readonly FrontierRow[], full: number | undefined): readonly [number, number] {
  const best = Math.max(full ?? 0, ...rows.map((row) => row.accuracy));
  const keyOf = (row: FrontierRow) => `${row.metric} ${row.rule} ${row.variant} ${row.protocol}`;
  const at60 = distinct(rows.map(keyOf)).map((method) => {
    const cheap = rows.filter((row) => keyOf(row) === method && row.macsFraction <= 0.6).map((row) => row.accuracy);
    return cheap.length === 0 ? best : Math.max(...cheap);
  });
  const low = Math.min(best - 0.05, Math.max(best - 0.4, Math.min(...at60) - 0.02));
  const step = best - low > 0.15 ? 0.05 : 0.02;
  return [Math.max(0, Math.floor(low / step) * step), Math.min(1, best + (best - low) * 0.12)];
}
