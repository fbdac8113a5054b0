import type { Html } from "../../../report/html.ts";
import { html } from "../../../report/html.ts";
import { costAxis, type Line, lineFigure, percentAxis } from "../../../report/lines.ts";
import { percent, points } from "../../../report/numbers.ts";
import { backboneName, capital, distinct, grouped } from "../../../report/series.ts";
import { isMain, methodName, methodSeries, variantColor, variantName } from "../../e2cm/words.ts";
import { CHOICES, choicesOf } from "../choices.ts";
import type { ChoiceName, E2cmCifar10Result, FrontierRow } from "../schema.ts";
import { byBackbone, plainAccuracy } from "../tables.ts";

/** Accuracy against MACs, a chart for each backbone: the package's exits and the paper's, guarded and aimed at, and the setting timed. */
export function frontierFigure(result: E2cmCifar10Result): Html | null {
  const rows = result.rows.filter(
    (row) => isMain(row) && row.choice !== "paper" && ["posterior", "normalised"].includes(row.rule),
  );
  if (rows.length === 0) return null;
  const charts = byBackbone(result, rows).map(([backbone, own]) => {
    const timed = result.wall.find((row) => row.backbone === backbone);
    const chosen = own.find(
      ({ metric, choice, wantedLoss }) =>
        choice === "guarded" && metric === timed?.metric && wantedLoss === timed.wantedLoss,
    );
    const mark = chosen && {
      x: chosen.macsFraction,
      y: chosen.accuracy,
      name: `≤ ${points(chosen.wantedLoss!)}`,
    };
    return { ...chartOf(result, backbone, own, methodLines(own)), title: backboneName(backbone), mark };
  });
  return lineFigure(
    charts,
    `Each dot is one setting of the thresholds, chosen on one half of the test pictures and measured on the other. Higher and further left is better. A ring: asked to lose at most so much, guarded, as in the timings. Solid: guarded; dashed: aimed at.${belowFrame(rows, charts[0]!.y.domain[0])}`,
  );
}

/** All rules under every choice of thresholds, a figure for each backbone. */
export function rulesFigures(result: E2cmCifar10Result): Html[] {
  const rows = result.rows.filter(isMain);
  return byBackbone(result, rows).map(([backbone, own]) => {
    const charts = choicesOf(own).map((choice) => {
      const lines = methodLines(
        own.filter((row) => row.choice === choice),
        false,
      );
      return { ...chartOf(result, backbone, own, lines), title: capital(CHOICES[choice].name) };
    });
    const caption = `Thresholds chosen in ${charts.length === 1 ? "one way" : `${charts.length} ways`}.`;
    return lineFigure(
      charts,
      `${caption}${belowFrame(own, charts[0]!.y.domain[0])}`,
      html`<h3>${backboneName(backbone)}</h3>`,
    );
  });
}

/** Cheaper exits (pooled features, 8-bit means): what they lose; variants whose curves coincide with the method's own are named only. */
export function variantsFigure(result: E2cmCifar10Result): Html | null {
  const rows = result.rows.filter(
    ({ choice, rule }) => choice === "aimed" && ["posterior", "normalised"].includes(rule),
  );
  const groups = byBackbone(result, rows).flatMap(([, own]) => grouped(own, ({ metric }) => metric));
  const same: string[] = [];
  const charts = groups
    .filter(([, own]) => distinct(own.map(({ variant }) => variant)).length > 1)
    .map(([metric, own]) => {
      const { backbone, rule } = own[0]!;
      const title = `${backboneName(backbone)}, ${methodName(metric, rule)}`;
      const variants = distinct(own.map(({ variant }) => variant)).sort(
        (a, b) => Number(isMain({ metric, variant: b })) - Number(isMain({ metric, variant: a })),
      );
      const of = (variant: string) => own.filter((row) => row.variant === variant);
      const lines = variants.flatMap((variant, index): Line[] => {
        const name = variantName(variant);
        if (
          index > 0 &&
          variant.includes("int8") &&
          coincide(of(variant), of(variant.replace(/ ?int8/, "") || variants[0]!))
        ) {
          same.push(`${title}, ${name}`);
          return [];
        }
        const color = variantColor(variant, methodSeries(metric, rule).color);
        return [{ name, color, dashed: index > 0, points: frontierPoints(name, of(variant)) }];
      });
      return { ...chartOf(result, backbone, own, lines), title };
    });
  if (charts.length === 0) return null;
  const left = same.length === 0 ? "" : ` Not drawn, as it coincides with the same exits in float: ${same.join("; ")}.`;
  return lineFigure(charts, `Thresholds aimed at a loss.${left}`);
}

/** Whether two curves cannot be told apart: nowhere more than half a point or a hundredth of the cost. */
function coincide(a: readonly FrontierRow[], b: readonly FrontierRow[]): boolean {
  return (
    a.length === b.length &&
    a.every(
      (row, at) =>
        Math.abs(row.accuracy - b[at]!.accuracy) < 0.005 && Math.abs(row.macsFraction - b[at]!.macsFraction) < 0.01,
    )
  );
}

function chartOf(result: E2cmCifar10Result, backbone: string, rows: readonly FrontierRow[], lines: readonly Line[]) {
  const full = plainAccuracy(result, backbone);
  return {
    label: `${backboneName(backbone)}: accuracy against multiply-accumulates`,
    lines,
    x: costAxis(
      rows.map((row) => row.macsFraction),
      { narrow: true },
    ),
    y: percentAxis("test accuracy", accuracyWindow(rows, full)),
    height: 380,
    phoneHeight: 330,
    reference: full === undefined ? undefined : { y: full, name: `the whole network: ${percent(full, 1)}` },
  };
}

/** One curve for each metric and rule and, where `choices` are told apart, each choice of thresholds. */
function methodLines(rows: readonly FrontierRow[], choices = true): Line[] {
  const nameOf = ({ metric, rule, choice }: FrontierRow) =>
    `${methodName(metric, rule)}${choices ? `, ${CHOICES[choice].name}` : ""}`;
  return grouped(rows, nameOf).map(([name, own]) => {
    const { metric, rule, choice } = own[0]!;
    const { color } = methodSeries(metric, rule);
    return {
      name,
      color,
      dashed: choices && choice === ("aimed" satisfies ChoiceName),
      points: frontierPoints(name, own),
    };
  });
}

/** Points of a curve, cheapest first. */
function frontierPoints(name: string, rows: readonly FrontierRow[]): Line["points"] {
  return [...rows]
    .sort((a, b) => a.macsFraction - b.macsFraction)
    .map((row) => ({
      x: row.macsFraction,
      y: row.accuracy,
      title: `${name}\n${percent(row.accuracy, 2)} right with ${percent(row.macsFraction, 1)} of the multiply-accumulates`,
    }));
}

function belowFrame(rows: readonly FrontierRow[], low: number): string {
  const lowest = Math.min(...rows.map((row) => row.accuracy));
  return lowest < low ? ` Curves go on below the frame, down to ${percent(lowest, 1)}.` : "";
}

/**
 * Accuracies worth showing: from what the weakest method still answers at 60 % of the cost (but within 5 to 40 points of
 * the full network) to a little above the best.
 */
function accuracyWindow(rows: readonly FrontierRow[], full: number | undefined): readonly [number, number] {
  const best = Math.max(full ?? 0, ...rows.map((row) => row.accuracy));
  const keyOf = (row: FrontierRow) => `${row.metric} ${row.rule} ${row.variant} ${row.choice}`;
  const at60 = grouped(rows, keyOf).map(([, own]) => {
    const cheap = own.filter((row) => row.macsFraction <= 0.6).map((row) => row.accuracy);
    return cheap.length === 0 ? best : Math.max(...cheap);
  });
  const low = Math.min(best - 0.05, Math.max(best - 0.4, Math.min(...at60) - 0.02));
  const step = best - low > 0.15 ? 0.05 : 0.02;
  return [Math.max(0, Math.floor(low / step) * step), Math.min(1, best + (best - low) * 0.12)];
}
