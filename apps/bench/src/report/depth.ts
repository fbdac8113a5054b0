import { isMain, metricSeries, variantName } from "../experiments/e2cm/words.ts";
import { COLUMN, figure, HALF, isPhone, NOT_MEASURED, responsive } from "./chart.ts";
import { mainFirst, plainAccuracy } from "./frontier.ts";
import { type Html, html } from "./html.ts";
import { legacyChart } from "./lines.ts";
import { percent } from "./numbers.ts";
import { backboneName, distinct } from "./series.ts";
import type { E2cmCifar10Result } from "./types.ts";

/** Accuracy of each exit if every picture left there, by depth: one chart for each backbone, one curve for each metric. */
export function depthSection(result: E2cmCifar10Result): Html {
  // The pooled curve of the shared covariance runs through all depths; second moments stand at a few.
  const rows = result.perExit.filter(
    (row) => isMain(row) || (row.metric === "sharedCovariance" && row.variant === "pooled4x4"),
  );
  if (rows.length === 0) return NOT_MEASURED;
  const backbones = mainFirst(result, rows);
  const charts = backbones.map((backbone) => {
    const own = rows.filter((row) => row.backbone === backbone);
    const full = plainAccuracy(result, backbone);
    const lines = distinct(own.map((row) => `${row.metric}\n${row.variant}`)).map((key) => {
      const [metric, variant] = key.split("\n") as [string, string];
      const main = isMain({ metric, variant });
      const name =
        variant === "full" ? metricSeries(metric).name : `${metricSeries(metric).name}, ${variantName(variant)}`;
      return {
        name,
        color: metricSeries(metric).color,
        dashed: !main,
        points: own
          .filter((row) => row.metric === metric && row.variant === variant)
          .sort((a, b) => a.depth - b.depth)
          .map((row) => ({
            x: row.depth,
            y: row.accuracy,
            title: `Exit ${row.depth} (${row.exit}), ${name}\n${percent(row.accuracy, 1)} right, after ${percent(row.macsFraction, 1)} of the multiply-accumulates`,
          })),
      };
    });
    return html`<div><h3>${backboneName(backbone)}</h3>${responsive(
      (width) =>
        legacyChart({
          label: `${backboneName(backbone)}: accuracy of each exit by depth`,
          lines,
          x: {
            label: "exit, counted from the input",
            domain: depthDomain(own),
            format: (value) => (Number.isInteger(value) ? String(value) : ""),
          },
          y: { label: "test accuracy if all leave there", domain: [0, 1], format: (value) => percent(value) },
          width,
          height: isPhone(width) ? 300 : 320,
          ...(full === undefined ? {} : { reference: { y: full, name: `full network: ${percent(full, 1)}` } }),
        }),
      backbones.length > 1 ? HALF : COLUMN,
    )}</div>`;
  });
  return figure(
    html`<div class="pair">${charts}</div>`,
    "Nothing was trained for these exits: each answers with the class whose mean is nearest to the picture's features at that depth.",
  );
}

function depthDomain(rows: readonly { readonly depth: number }[]): readonly [number, number] {
  const deepest = Math.max(...rows.map((row) => row.depth));
  return [Math.min(1, deepest - 1), deepest];
}
