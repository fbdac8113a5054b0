import { caption, details } from "../../../report/chart.ts";
import { type Html, html } from "../../../report/html.ts";
import { exact, percent, points, times } from "../../../report/numbers.ts";
import type { Content } from "../../../report/report.ts";
import { backboneName, distinct } from "../../../report/series.ts";
import { type Cell, htmlTable, type Table } from "../../../report/table.ts";
import { isMain, methodName, ruleSeries } from "../../e2cm/words.ts";
import { protocolName, protocolsOf } from "../protocols.ts";
import type { E2cmCifar10Result, FrontierRow } from "../schema.ts";
import { cheapest, mainFirst, mostAccurate, plainAccuracy } from "../tables.ts";

const LOSSES = [0.005, 0.01, 0.02, 0.05];
const COSTS = [0.5, 0.7];
const ORDER = ["normalised", "raw", "perSampleMaximum", "posterior"];

/** The distance rules side by side, a table for each backbone and protocol. */
export function rulesTables(result: E2cmCifar10Result): readonly Content[] {
  const rows = result.rows.filter(isMain);
  if (rows.length === 0) return [];
  const missing = ORDER.slice(0, 3).filter((rule) => !rows.some((row) => row.rule === rule));
  const [first, ...others] = protocolsOf(rows).map((protocol) => {
    const name = protocolName(protocol);
    const tables = mainFirst(result, rows).map((backbone): Html | null => {
      const own = rows.filter((row) => row.backbone === backbone && row.protocol === protocol);
      const table = htmlTable(rulesTable(own, plainAccuracy(result, backbone)));
      return own.length === 0 ? null : html`<h3>${backboneName(backbone)}, ${name}</h3>${table}`;
    });
    return { name, tables };
  });
  const unmeasured = missing.map((rule) => ruleSeries(rule).name).join(", ");
  return [
    ...first!.tables,
    caption(
      `Read off the curves above, on the test pictures. A dash: no setting reaches it.${unmeasured === "" ? "" : ` Not measured in this run: ${unmeasured}.`}`,
    ),
    ...others.map(({ name, tables }) => details(`The same by ${name}`, html`${tables}`)),
  ];
}

function rulesTable(rows: readonly FrontierRow[], full: number | undefined): Table {
  const methods = distinct(rows.map((row) => `${row.metric}\n${row.rule}`))
    .map((key) => rows.filter((row) => `${row.metric}\n${row.rule}` === key))
    .sort((a, b) => ORDER.indexOf(a[0]!.rule) - ORDER.indexOf(b[0]!.rule));
  const costs = (full === undefined ? [] : LOSSES).map((loss) => [
    `cost to stay within ${points(loss)}`,
    ...best(
      methods.map((own) => cheapest(own, full! - loss)),
      Math.min,
      times,
    ),
  ]);
  const accuracies = COSTS.map((cost) => [
    `accuracy with at most ${percent(cost)} of the MACs`,
    ...best(
      methods.map((own) => mostAccurate(own, cost)),
      Math.max,
      exact,
    ),
  ]);
  const names = methods.map(([row]) => methodName(row!.metric, row!.rule));
  return { head: ["share of the full network's MACs, or accuracy", ...names], body: [...costs, ...accuracies] };
}

/** Numbers as text, the best of them standing out. */
function best(
  values: readonly (number | undefined)[],
  choose: (...values: number[]) => number,
  format: (value: number) => string,
): Cell[] {
  const known = values.filter((value) => value !== undefined);
  const winner = format(choose(...known));
  return values.map((value) => {
    const text = value === undefined ? "–" : format(value);
    return known.length > 1 && text === winner ? { text, tone: "best" } : text;
  });
}
