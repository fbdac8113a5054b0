import type { Html } from "../../../report/html.ts";
import { costAxis, type Line, lineFigure, percentAxis } from "../../../report/lines.ts";
import { percent } from "../../../report/numbers.ts";
import { backboneName, distinct } from "../../../report/series.ts";
import { isMain, methodName, ruleSeries, variantColor, variantName } from "../../e2cm/words.ts";
import { PROTOCOLS, protocolName } from "../protocols.ts";
import type { E2cmCifar10Result, FrontierRow } from "../schema.ts";
import { mainFirst, plainAccuracy } from "../tables.ts";
import { accuracyWindow, frontierPoints } from "./frontier.ts";

/** Cheaper exits (pooled features, 8-bit means): what they lose. */
export function variantsFigure(result: E2cmCifar10Result): Html | null {
  const groups = variantGroups(result);
  if (groups.length === 0) return null;
  const charts = groups.map((rows) => {
    const { backbone, metric, rule } = rows[0]!;
    const full = plainAccuracy(result, backbone);
    const title = `${backboneName(backbone)}: ${methodName(metric, rule)}`;
    return {
      title,
      label: `${title}, variants`,
      lines: variantLines(rows),
      x: costAxis(rows.map((row) => row.macsFraction)),
      y: percentAxis("test accuracy", accuracyWindow(rows, full)),
      phoneHeight: 320,
      reference: full === undefined ? undefined : { y: full, name: `full network: ${percent(full, 1)}` },
    };
  });
  const protocols = distinct(groups.map(([row]) => protocolName(row!.protocol))).join(", ");
  return lineFigure(charts, `Thresholds by ${protocols}.`);
}

/** Rows of methods measured in more than one variant, each under the first protocol that has them. */
function variantGroups(result: E2cmCifar10Result): FrontierRow[][] {
  const { rows } = result;
  return mainFirst(result, rows).flatMap((backbone) =>
    distinct(rows.map((row) => `${row.metric}\n${row.rule}`)).flatMap((key) => {
      const own = rows.filter((row) => row.backbone === backbone && `${row.metric}\n${row.rule}` === key);
      const protocol = [...Object.keys(PROTOCOLS), ...own.map((row) => row.protocol)].find(
        (name) => distinct(own.filter((row) => row.protocol === name).map((row) => row.variant)).length > 1,
      );
      return protocol === undefined ? [] : [own.filter((row) => row.protocol === protocol)];
    }),
  );
}

function variantLines(rows: readonly FrontierRow[]): Line[] {
  const { metric, rule } = rows[0]!;
  return distinct(rows.map((row) => row.variant))
    .sort((a, b) => Number(isMain({ metric, variant: b })) - Number(isMain({ metric, variant: a })))
    .map((variant, index) => {
      const name = variantName(variant);
      const own = rows.filter((row) => row.variant === variant);
      const color = variantColor(index, ruleSeries(rule).color);
      return { name, color, dashed: index > 0, points: frontierPoints(name, own) };
    });
}
