import { isMain, methodName, ruleSeries } from "../experiments/e2cm/words.ts";
import { details, NOT_MEASURED, table } from "./chart.ts";
import { mainFirst, plainAccuracy } from "./frontier.ts";
import { type Html, html } from "./html.ts";
import { percent, points } from "./numbers.ts";
import { protocolName, protocolsOf } from "./protocols.ts";
import { backboneName, distinct } from "./series.ts";
import type { E2cmCifar10Result, FrontierRow } from "./types.ts";

const LOSSES = [0.005, 0.01, 0.02, 0.05];
const COSTS = [0.5, 0.7];
const ORDER = ["normalised", "raw", "perSampleMaximum", "posterior"];

/** The distance rules side by side, a table for each backbone and protocol. */
export function rulesSection(result: E2cmCifar10Result): Html {
  const rows = result.rows.filter(isMain);
  if (rows.length === 0) return NOT_MEASURED;
  const missing = ORDER.slice(0, 3).filter((rule) => !rows.some((row) => row.rule === rule));
  const [first, ...others] = protocolsOf(rows).map((protocol) => ({
    name: protocolName(protocol),
    tables: mainFirst(result, rows).map((backbone) => {
      const own = rows.filter((row) => row.backbone === backbone && row.protocol === protocol);
      const title = html`<h3>${backboneName(backbone)}, ${protocolName(protocol)}</h3>`;
      return own.length === 0 ? null : html`${title}${rulesTable(own, plainAccuracy(result, backbone))}`;
    }),
  }));
  return html`${first!.tables}<p class="caption">Read off the curves above, on the test pictures. A dash: no setting reaches it.${
    missing.length > 0 ? ` Not measured in this run: ${missing.map((rule) => ruleSeries(rule).name).join(", ")}.` : ""
  }</p>${others.map(({ name, tables }) => details(`The same by ${name}`, html`${tables}`))}`;
}

function rulesTable(rows: readonly FrontierRow[], full: number | undefined): Html {
  const methods = distinct(rows.map((row) => `${row.metric}\n${row.rule}`))
    .map((key) => rows.filter((row) => `${row.metric}\n${row.rule}` === key))
    .sort((a, b) => ORDER.indexOf(a[0]!.rule) - ORDER.indexOf(b[0]!.rule));
  const head = [
    "share of the full network's MACs, or accuracy",
    ...methods.map(([row]) => methodName(row!.metric, row!.rule)),
  ];
  const costs =
    full === undefined
      ? []
      : LOSSES.map((loss) => [
          `cost to stay within ${points(loss)}`,
          ...best(
            methods.map((own) => cheapest(own, full - loss)),
            Math.min,
            0,
          ),
        ]);
  const accuracies = COSTS.map((cost) => [
    `accuracy with at most ${percent(cost)} of the MACs`,
    ...best(
      methods.map((own) => mostAccurate(own, cost)),
      Math.max,
      1,
    ),
  ]);
  return table(head, [...costs, ...accuracies]);
}

/** The smallest cost fraction that still reaches `accuracy`. */
export function cheapest(rows: readonly FrontierRow[], accuracy: number): number | undefined {
  const reaching = rows.filter((row) => row.accuracy >= accuracy - 1e-9).map((row) => row.macsFraction);
  return reaching.length === 0 ? undefined : Math.min(...reaching);
}

/** The highest accuracy for at most this cost fraction. */
export function mostAccurate(rows: readonly FrontierRow[], cost: number): number | undefined {
  const paying = rows.filter((row) => row.macsFraction <= cost + 1e-9).map((row) => row.accuracy);
  return paying.length === 0 ? undefined : Math.max(...paying);
}

/** Percentages, the best of them bold. */
function best(
  values: readonly (number | undefined)[],
  choose: (...values: number[]) => number,
  digits: number,
): (Html | string)[] {
  const known = values.filter((value) => value !== undefined);
  const winner = choose(...known);
  return values.map((value) => {
    if (value === undefined) return "–";
    const text = percent(value, digits);
    return known.length > 1 && text === percent(winner, digits) ? html`<b>${text}</b>` : text;
  });
}
