import { pointsLost } from "../../measuring/wall.ts";
import { count, decimal, exact, points, signed, times } from "../../report/numbers.ts";
import { backboneName, distinct, grouped } from "../../report/series.ts";
import { type Column, type Table, tableOf } from "../../report/table.ts";
import { isMain, metricSeries, variantName } from "../e2cm/words.ts";
import type { ChoiceName, E2cmCifar10Result, FrontierRow } from "./schema.ts";

/** Rows by backbone, the headline's first. */
export function byBackbone<R extends { readonly backbone: string }>(
  { backbones }: E2cmCifar10Result,
  rows: readonly R[],
): [backbone: string, rows: R[]][] {
  const main = backbones.at(-1)?.backbone;
  return grouped(rows, ({ backbone }) => backbone).sort(([a], [b]) => Number(b === main) - Number(a === main));
}

function mainFirst<R extends { readonly backbone: string }>(result: E2cmCifar10Result, rows: readonly R[]): R[] {
  return byBackbone(result, rows).flatMap(([, own]) => own);
}

/** Accuracy of the plain network; undefined when the run did not say. */
export function plainAccuracy({ backbones }: E2cmCifar10Result, backbone: string): number | undefined {
  return backbones.find((one) => one.backbone === backbone)?.accuracy;
}

/** Rows of the package's default by one choice of thresholds. */
export function defaultRows({ rows }: E2cmCifar10Result, backbone: string, choice: ChoiceName): FrontierRow[] {
  return rows.filter(
    (row) => row.backbone === backbone && row.metric === "sharedCovariance" && isMain(row) && row.choice === choice,
  );
}

/** Losses that are shown of the package's default. */
export const SHOWN_LOSSES: readonly number[] = [0.002, 0.003, 0.005, 0.01];

/** How often what was asked for was exceeded in random halvings, and what is paid for the guarantee. */
export function halvingsTable(result: E2cmCifar10Result): Table {
  return tableOf(mainFirst(result, result.halvings), [
    ["network and exits", ({ backbone, metric }) => `${backboneName(backbone)}, ${metricSeries(metric).name}`],
    ...PROMISE,
  ]);
}

/** The same of the package's default in one network. */
export function promiseTable({ halvings }: E2cmCifar10Result, backbone: string): Table {
  const own = halvings.filter((row) => row.backbone === backbone && row.metric === "sharedCovariance");
  return tableOf(own, PROMISE);
}

type HalvingRow = E2cmCifar10Result["halvings"][number];

const PROMISE: readonly Column<HalvingRow>[] = [
  ["asked to lose at most", "asked", points],
  ...outcomes("guarded", "guarded"),
  ...outcomes("aimed", "aimed at"),
];

function outcomes(choice: "guarded" | "aimed", words: string): Column<HalvingRow>[] {
  return [
    [`${words}: points lost`, (row) => decimal(100 * row[choice].lost, 2)],
    ["MACs", (row) => (row[choice].idle === row.halvings ? "nothing leaves" : times(row[choice].macsFraction))],
    ["lost more", (row) => `${row[choice].failed} of ${row.halvings}`],
  ];
}

/** Wall clock against MACs; everything in a row is of the same pictures. */
export function wallTable(result: E2cmCifar10Result): Table {
  return tableOf(mainFirst(result, result.wall), [
    ["network", ({ backbone }) => backboneName(backbone)],
    ["batch", "batch"],
    ["pictures", ({ pictures }) => pictures, count],
    ["MACs", "macsFraction", times],
    ["time", "wallFraction", times],
    ["of all rounds", ({ wallRange }) => wallRange && `${decimal(wallRange[0], 3)}–${times(wallRange[1])}`],
    ["right", "accuracy", exact],
    ["points lost", pointsLost],
    ["plain ms", ({ plainMs }) => plainMs.toFixed(2)],
    ["in stages ms", ({ stagedMs }) => stagedMs.toFixed(2)],
    ["rounds", "runs"],
  ]);
}

/** How fast the exits are fitted, beside the plain network's speed on the same pictures. */
export function fitTable(result: E2cmCifar10Result): Table {
  return tableOf(mainFirst(result, result.fit), [
    ["network", ({ backbone }) => backboneName(backbone)],
    ["pass", ({ metric }) => metricSeries(metric).name],
    ["pictures", "pictures"],
    ["fitted a second", ({ fitPicturesPerSecond }) => Math.round(fitPicturesPerSecond)],
    ["plain network, a second", ({ plainPicturesPerSecond }) => Math.round(plainPicturesPerSecond)],
    ["of the plain network's speed", "ratio", times],
  ]);
}

/** What exits weigh when nothing leaves. */
export function overheadTable(result: E2cmCifar10Result): Table {
  return tableOf(mainFirst(result, result.overhead), [
    ["network", ({ backbone }) => backboneName(backbone)],
    ["exits", ({ exits, metric, variant }) => `${exits} × ${metricSeries(metric).name}, ${variantName(variant)}`],
    ["all exits together, share of the MACs", "share", exact],
    ["of the time, batch 64", "wallShare", exact],
    ["time of one exit, its cut included", "wallSharePerExit", exact],
  ]);
}

/** The methods compared in one table, by metric, rule and variant; the first is the package's default. */
const METHODS = [
  ["sharedCovariance", "posterior", "moments", "shared covariance, second moments (default)"],
  ["sharedCovariance", "posterior", "moments int8", "the same, 8-bit weights"],
  ["sharedCovariance", "posterior", "pooled4x4", "shared covariance, pooled"],
  ["euclidean", "normalised", "full", "class means, normalised (paper)"],
  ["euclidean", "raw", "full", "class means, raw"],
  ["euclidean", "perSampleMaximum", "full", "class means, own maximum"],
  ["euclidean", "normalised", "pooled4x4", "class means, pooled"],
  ["euclidean", "normalised", "int8", "class means, 8-bit"],
] as const;

const LOSSES = [0, 0.002, 0.003, 0.004, 0.005, 0.01, 0.02, 0.05];

/** Cost and change of accuracy of every method for what it was asked to lose. */
export function lossTable(result: E2cmCifar10Result, backbone: string, choice: ChoiceName): Table {
  const full = plainAccuracy(result, backbone) ?? Number.NaN;
  const columns = METHODS.map(([metric, rule, variant, title]): Column<number> => {
    const rows = result.rows.filter(
      (row) =>
        row.backbone === backbone &&
        row.metric === metric &&
        row.rule === rule &&
        row.variant === variant &&
        row.choice === choice,
    );
    return [
      title,
      (loss) => {
        const row = rows.find(({ wantedLoss }) => wantedLoss === loss);
        if (row === undefined) return undefined;
        return `${times(row.macsFraction)}${Number.isNaN(full) ? "" : `, ${signed(row.accuracy - full)}`}`;
      },
    ];
  });
  return tableOf(LOSSES, [["asked to lose at most", points], ...columns]);
}

/** Accuracy if every picture left at an exit, of every third block. */
export function depthTable({ perExit }: E2cmCifar10Result, backbone: string): Table {
  const own = perExit.filter((row) => row.backbone === backbone);
  const blocks = distinct(own.map(({ depth }) => depth)).filter((block) => block > 0 && block % 3 === 0);
  const at =
    (metric: string, variant: string) =>
    (block: number): number | undefined =>
      own.find((row) => row.metric === metric && row.variant === variant && row.depth === block)?.accuracy;
  return tableOf(blocks, [
    ["exit", (block) => own.find(({ depth }) => depth === block)!.exit],
    ["class means, all features", at("euclidean", "full"), exact],
    ["class means, pooled", at("euclidean", "pooled4x4"), exact],
    ["shared covariance, pooled", at("sharedCovariance", "pooled4x4"), exact],
    ["shared covariance, second moments", at("sharedCovariance", "moments"), exact],
  ]);
}
