import type { Html } from "../../../report/html.ts";
import { countAxis, lineFigure, percentAxis } from "../../../report/lines.ts";
import { percent } from "../../../report/numbers.ts";
import { backboneName, grouped } from "../../../report/series.ts";
import { isMain, metricSeries, variantName } from "../../e2cm/words.ts";
import type { E2cmCifar10Result, ExitRow } from "../schema.ts";
import { byBackbone, plainAccuracy } from "../tables.ts";

/** Accuracy of each exit if every picture left there, by depth: one chart for each backbone, one curve for each metric. */
export function depthFigure(result: E2cmCifar10Result): Html | null {
  // The pooled curve of the shared covariance runs through all depths; second moments stand at a few.
  const rows = result.perExit.filter(
    (row) => isMain(row) || (row.metric === "sharedCovariance" && row.variant === "pooled4x4"),
  );
  if (rows.length === 0) return null;
  const charts = byBackbone(result, rows).map(([backbone, own]) => {
    const full = plainAccuracy(result, backbone);
    const deepest = Math.max(...own.map((row) => row.depth));
    return {
      title: backboneName(backbone),
      label: `${backboneName(backbone)}: accuracy of each exit by depth`,
      lines: grouped(own, ({ metric, variant }) => `${metric} ${variant}`).map(([, rows]) => depthLine(rows)),
      x: countAxis("after block", [Math.min(1, deepest - 1), deepest]),
      y: percentAxis("test accuracy if all leave there", [0, 1]),
      reference: full === undefined ? undefined : { y: full, name: `the whole network: ${percent(full, 1)}` },
    };
  });
  return lineFigure(
    charts,
    "Nothing was trained for these exits: each answers with the class whose mean is nearest to the picture's features at that depth.",
  );
}

function depthLine(rows: ExitRow[]) {
  const { metric, variant } = rows[0]!;
  const { name: short, color } = metricSeries(metric);
  const name = variant === "full" ? short : `${short}, ${variantName(variant)}`;
  return {
    name,
    color,
    dashed: !isMain({ metric, variant }),
    points: rows
      .sort((a, b) => a.depth - b.depth)
      .map((row) => ({
        x: row.depth,
        y: row.accuracy,
        title: `${row.exit}, ${name}\n${percent(row.accuracy, 1)} right, after ${percent(row.macsFraction, 1)} of the multiply-accumulates`,
      })),
  };
}
