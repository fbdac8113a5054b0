import { isMain, methodName, metricSeries, ruleSeries, variantColor, variantName } from "../experiments/e2cm/words.ts";
import { COLUMN, figure, HALF, isPhone, NOT_MEASURED, responsive, table } from "./chart.ts";
import { accuracyWindow, costAxis, frontierPoints, mainFirst, plainAccuracy } from "./frontier.ts";
import { type Html, html } from "./html.ts";
import { type Line, legacyChart } from "./lines.ts";
import { percent } from "./numbers.ts";
import { PROTOCOLS, protocolName } from "./protocols.ts";
import { cheapest, mostAccurate } from "./rules.ts";
import { backboneName, distinct } from "./series.ts";
import type { E2cmCifar10Result, FrontierRow } from "./types.ts";

/** Cheaper exits (pooled features, 8-bit means): what they weigh and what they lose. */
export function variantsSection(result: E2cmCifar10Result): Html {
  const groups = variantGroups(result);
  const overhead = overheadTable(result);
  if (groups.length === 0 && overhead === null) return NOT_MEASURED;
  return html`${groups.length === 0 ? NOT_MEASURED : variantCharts(result, groups)}${overhead}`;
}

interface Group {
  readonly backbone: string;
  readonly metric: string;
  readonly rule: string;
  readonly protocol: string;
  readonly rows: readonly FrontierRow[];
}

/** Methods measured in more than one variant, under the first protocol that has them. */
function variantGroups({ rows, ...result }: E2cmCifar10Result): Group[] {
  const full = { rows, ...result };
  return mainFirst(full, rows).flatMap((backbone) =>
    distinct(rows.map((row) => `${row.metric}\n${row.rule}`)).flatMap((key) => {
      const [metric, rule] = key.split("\n") as [string, string];
      const own = rows.filter((row) => row.backbone === backbone && row.metric === metric && row.rule === rule);
      const protocol = [...Object.keys(PROTOCOLS), ...own.map((row) => row.protocol)].find(
        (name) => distinct(own.filter((row) => row.protocol === name).map((row) => row.variant)).length > 1,
      );
      if (protocol === undefined) return [];
      return [{ backbone, metric, rule, protocol, rows: own.filter((row) => row.protocol === protocol) }];
    }),
  );
}

function variantCharts(result: E2cmCifar10Result, groups: readonly Group[]): Html {
  const charts = groups.map((group) => {
    const full = plainAccuracy(result, group.backbone);
    const name = `${backboneName(group.backbone)}: ${methodName(group.metric, group.rule)}`;
    return html`<div><h3>${name}</h3>${responsive(
      (width) =>
        legacyChart({
          label: `${name}, variants`,
          lines: variantLines(group),
          x: costAxis(
            group.rows.map((row) => row.macsFraction),
            isPhone(width),
          ),
          y: { label: "test accuracy", domain: accuracyWindow(group.rows, full), format: (value) => percent(value) },
          width,
          height: 320,
          ...(full === undefined ? {} : { reference: { y: full, name: `full network: ${percent(full, 1)}` } }),
        }),
      groups.length > 1 ? HALF : COLUMN,
    )}</div>`;
  });
  const protocols = distinct(groups.map((group) => protocolName(group.protocol))).join(", ");
  return figure(html`<div class="pair">${charts}</div>`, `Thresholds by ${protocols}.`);
}

function variantLines({ rows, rule, metric }: Group): Line[] {
  return distinct(rows.map((row) => row.variant))
    .sort((a, b) => Number(isMain({ metric, variant: b })) - Number(isMain({ metric, variant: a })))
    .map((variant, index) => {
      const name = variantName(variant);
      return {
        name,
        color: variantColor(index, ruleSeries(rule).color),
        dashed: index > 0,
        points: frontierPoints(
          name,
          rows.filter((row) => row.variant === variant),
        ),
      };
    });
}

function overheadTable(result: E2cmCifar10Result): Html | null {
  if (result.overhead.length === 0) return null;
  const protocol = Object.keys(PROTOCOLS).find((name) => result.rows.some((row) => row.protocol === name));
  const body = mainFirst(result, result.overhead).flatMap((backbone) =>
    result.overhead
      .filter((one) => one.backbone === backbone)
      .map(({ metric, variant, share }) => {
        const rows = result.rows.filter(
          (row) =>
            row.backbone === backbone && row.metric === metric && row.variant === variant && row.protocol === protocol,
        );
        const full = plainAccuracy(result, backbone);
        const cost = full === undefined ? undefined : cheapest(rows, full - 0.01);
        const accuracy = mostAccurate(rows, 0.7);
        return [
          `${backboneName(backbone)}, ${metricSeries(metric).name}, ${variantName(variant)}`,
          percent(share, 1),
          cost === undefined ? "–" : percent(cost),
          accuracy === undefined ? "–" : percent(accuracy, 1),
        ];
      }),
  );
  return html`${table(
    [
      "exits",
      "all exits together, share of the MACs",
      "cost to stay within 1.0 point",
      "accuracy with at most 70 % of the MACs",
    ],
    body,
  )}<p class="caption">The best rule of each metric${protocol === undefined ? "" : html`, ${protocolName(protocol)}`}. A dash: no setting reaches it, or it was not measured.</p>`;
}
