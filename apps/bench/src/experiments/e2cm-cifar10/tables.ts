import { exact, percent, points, signed, times } from "../../report/numbers.ts";
import { backboneName, distinct } from "../../report/series.ts";
import { type Column, type Table, tableOf } from "../../report/table.ts";
import { metricSeries, variantName } from "../e2cm/words.ts";
import { PROTOCOLS } from "./protocols.ts";
import type { E2cmCifar10Result, FrontierRow } from "./schema.ts";

/** Backbones of these rows, the headline's first. */
export function mainFirst({ backbones }: E2cmCifar10Result, rows: readonly { readonly backbone: string }[]): string[] {
  const main = backbones.at(-1)?.backbone;
  return distinct(rows.map((row) => row.backbone)).sort((a, b) => Number(b === main) - Number(a === main));
}

/** Rows by backbone, the headline's first. */
function byBackbone<R extends { readonly backbone: string }>(result: E2cmCifar10Result, rows: readonly R[]): R[] {
  return mainFirst(result, rows).flatMap((backbone) => rows.filter((row) => row.backbone === backbone));
}

/** Accuracy of the plain network; undefined when the run did not say. */
export function plainAccuracy(result: E2cmCifar10Result, backbone: string): number | undefined {
  const listed = result.backbones.find((one) => one.backbone === backbone)?.accuracy;
  return listed ?? (result.backbones.length === 0 ? result.full?.accuracy : undefined);
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

/** Wall clock against MACs. */
export function wallTable(result: E2cmCifar10Result): Table {
  return tableOf(byBackbone(result, result.wall), [
    ["network", ({ backbone }) => backboneName(backbone)],
    ["exits", ({ metric }) => metricSeries(metric).name],
    ["batch", "batch"],
    ["pictures", picturesTimed],
    ["MACs", "macsFraction", times],
    ["time", "wallFraction", times],
    ["plain ms", ({ plainMs }) => plainMs.toFixed(2)],
    ["in stages ms", ({ stagedMs }) => stagedMs.toFixed(2)],
    ["right", "accuracy", exact],
    ["right (plain)", "fullAccuracy", exact],
    ["rounds", "runs"],
  ]);
}

/** Pictures that were timed; older results of the full preset do not say it. */
export function picturesTimed({ batch, pictures = Math.min(2048, 128 * batch) }: E2cmCifar10Result["wall"][number]) {
  return pictures;
}

/** How fast the exits are fitted, beside the plain network's speed on the same pictures. */
export function fitTable(result: E2cmCifar10Result): Table {
  return tableOf(byBackbone(result, result.fit), [
    ["network", ({ backbone }) => backboneName(backbone)],
    ["pass", ({ metric }) => metricSeries(metric).name],
    ["pictures", "pictures"],
    ["fitted a second", ({ fitPicturesPerSecond }) => Math.round(fitPicturesPerSecond)],
    ["plain network, a second", ({ plainPicturesPerSecond }) => Math.round(plainPicturesPerSecond)],
    ["of the plain network's speed", "ratio", times],
  ]);
}

/** What exits weigh when nothing leaves, and what their variants reach. */
export function overheadTable(result: E2cmCifar10Result): Table {
  const protocol = Object.keys(PROTOCOLS).find((name) => result.rows.some((row) => row.protocol === name));
  const own = ({ backbone, metric, variant }: E2cmCifar10Result["overhead"][number]) =>
    result.rows.filter(
      (row) =>
        row.backbone === backbone && row.metric === metric && row.variant === variant && row.protocol === protocol,
    );
  return tableOf(byBackbone(result, result.overhead), [
    ["network", ({ backbone }) => backboneName(backbone)],
    [
      "exits",
      ({ exits, metric, variant }) =>
        `${exits === undefined ? "" : `${exits} × `}${metricSeries(metric).name}, ${variantName(variant)}`,
    ],
    ["all exits together, share of the MACs", "share", exact],
    ["of the time, batch 64", "wallShare", exact],
    ["time of one exit, its cut included", "wallSharePerExit", exact],
    [
      "cost to stay within 1.0 point",
      (row) => {
        const full = plainAccuracy(result, row.backbone);
        return full && cheapest(own(row), full - 0.01);
      },
      times,
    ],
    [`accuracy with at most ${percent(0.7)} of the MACs`, (row) => mostAccurate(own(row), 0.7), exact],
  ]);
}

/** The methods compared in one table: rows of the sound protocol by metric, rule and variant. */
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

/** Rows of a method of {@link METHODS} under the sound protocol; the first is the package's default. */
export function soundRows({ rows }: E2cmCifar10Result, backbone: string, method = 0): readonly FrontierRow[] {
  const [metric, rule, variant] = METHODS[method]!;
  return rows.filter(
    (row) =>
      row.backbone === backbone &&
      row.metric === metric &&
      row.rule === rule &&
      row.variant === variant &&
      row.protocol === "sound",
  );
}

/** Cost and change of accuracy of every method for what it was asked to lose. */
export function lossTable(result: E2cmCifar10Result, backbone: string, accuracy: number): Table {
  const columns = METHODS.map(([, , , title], method): Column<number> => {
    const rows = soundRows(result, backbone, method);
    return [
      title,
      (loss) => {
        const row = rows.find(({ wantedLoss }) => wantedLoss === loss);
        return row && `${times(row.macsFraction)}, ${signed(row.accuracy - accuracy)}`;
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
    ["after block", (block) => block],
    ["class means, all features", at("euclidean", "full"), exact],
    ["class means, pooled", at("euclidean", "pooled4x4"), exact],
    ["shared covariance, pooled", at("sharedCovariance", "pooled4x4"), exact],
    ["shared covariance, second moments", at("sharedCovariance", "moments"), exact],
  ]);
}
