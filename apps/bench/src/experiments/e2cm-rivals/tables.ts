import { spread } from "../../measuring/spread.ts";
import { pointsLost } from "../../measuring/wall.ts";
import { count, decimal, exact, percent, points, seconds, spreadWords, times } from "../../report/numbers.ts";
import { distinct } from "../../report/series.ts";
import { type Column, type Table, tableOf } from "../../report/table.ts";
import type { RivalData, RivalsResult } from "./schema.ts";
import { alike, atFraction, datasetName, type Kind, kindsOf, methodsOf, rivalSeries } from "./series.ts";

/** Largest mean costs that tables show, as fractions of the plain network's. */
export const SHOWN = [0.15, 0.2, 0.25, 0.3, 0.5, 0.75, 1];

/** Exits of a table at most: class means after every block have too many, and a page of their own. */
export const MOST_EXITS = 7;

/** What names a kind; the data set where there are several. */
function kindColumns(result: RivalsResult, datasets: readonly RivalData[]): (Column<Kind> | false)[] {
  return [
    datasets.length > 1 && ["data", ({ dataset }) => datasetName(result, dataset)],
    ["method", ({ method }) => rivalSeries(method).name],
    ["budget", "budget"],
  ];
}

function inOrder<R extends Kind>(rows: readonly R[], datasets: readonly RivalData[]): R[] {
  return datasets.flatMap(({ dataset }) => rows.filter((row) => row.dataset === dataset));
}

/** A column for each allowed cost: how right those are of which the rows are. */
function costColumns<R>(fractions: readonly number[], rowsOf: (row: R) => RivalsResult["rows"]): Column<R>[] {
  return fractions.map((fraction) => [
    `≤ ${fraction}`,
    (row) => {
      const at = rowsOf(row).filter(({ askedFraction }) => askedFraction === fraction);
      return at.length === 0 ? "costs more" : spreadWords(spread(at.map(({ accuracy }) => accuracy)));
    },
  ]);
}

/** Accuracy where so much of the cost was allowed, ours and the poster's. */
export function frontierTable(result: RivalsResult, datasets: readonly RivalData[]): Table {
  const { rows, poster } = result;
  const asked = inOrder(rows, datasets).filter(({ askedFraction }) => askedFraction !== null);
  const kinds = kindsOf(asked);
  const ours = tableOf(kinds, [
    ...kindColumns(result, datasets),
    ...costColumns<(typeof kinds)[number]>(SHOWN, ({ rows: own }) => own),
  ]);
  if (poster === undefined || !datasets.some(({ dataset }) => dataset === "cifar10")) return ours;
  const theirs = poster.paper.map(({ method, accuracies }) => [
    ...(datasets.length > 1 ? ["CIFAR-10"] : []),
    rivalSeries(method).name,
    "unlimited, the paper (ResNet-152)",
    ...SHOWN.map((fraction) => {
      const found = accuracies[poster.fractions.indexOf(fraction)];
      return found === undefined ? "not given" : exact(found);
    }),
  ]);
  return { ...ours, body: [...ours.body, ...theirs] };
}

/** Accuracy at the poster's cost fractions, ours and the paper's. */
export function posterTable({ poster, datasets, rows, settings }: RivalsResult): Table {
  const { fractions, paper } = poster!;
  const epochs = settings === undefined ? "" : `, ${settings.epochs} epochs`;
  const budget = "unlimited";
  const own = datasets.flatMap(({ dataset, name }) => {
    const methods = methodsOf(
      rows.filter((row) => row.dataset === dataset),
      budget,
    );
    return methods.map((method) => ({
      title: `${name}: ${rivalSeries(method).name}${epochs}`,
      at: (fraction: number) => {
        const found = atFraction(rows, { dataset, method, budget }, fraction);
        return found && spreadWords(found);
      },
    }));
  });
  const theirs = paper.map(({ method, accuracies }) => ({
    title: `the paper, CIFAR-10: ${rivalSeries(method).name}`,
    at: (fraction: number) => exact(accuracies[fractions.indexOf(fraction)]!),
  }));
  return tableOf<(typeof own)[number]>(
    [...own, ...theirs],
    [
      ["accuracy at", "title"],
      ...fractions.map((at): Column<(typeof own)[number]> => [`at most ${percent(at)}`, (row) => row.at(at)]),
    ],
  );
}

/** How right every exit is, if all pictures leave there; null where no method has so few exits. */
export function exitTable(result: RivalsResult, datasets: readonly RivalData[]): Table | null {
  const all = kindsOf(inOrder(result.perExit, datasets));
  const kinds = all.filter(({ rows }) => rows.every(({ exit }) => exit < MOST_EXITS));
  if (kinds.length === 0) return null;
  const exits = Array.from(
    { length: MOST_EXITS },
    (_, exit): Column<(typeof kinds)[number]> => [
      `exit ${exit + 1}`,
      ({ rows }) => {
        const own = rows.filter((row) => row.exit === exit);
        const right = spread(own.map(({ accuracy }) => accuracy)).mean;
        return own.length === 0 ? "" : `${exact(right)} (${times(own[0]!.macsFraction)})`;
      },
    ],
  );
  return tableOf(kinds, [...kindColumns(result, datasets), ...exits]);
}

/** How long fitting takes, and how much memory. */
export function effortTable(result: RivalsResult, datasets: readonly RivalData[]): Table {
  const { training, memory, diverged } = result;
  const timeOf = (kind: Kind) => {
    const known = alike(training, kind).flatMap((row) => row.seconds ?? []);
    return known.length === 0 ? undefined : spread(known).mean;
  };
  return tableOf(kindsOf(inOrder([...training, ...diverged], datasets)), [
    ...kindColumns(result, datasets),
    [
      "passes",
      ({ rows: [first] }) =>
        first!.seed === null ? "one pass" : `${first!.epochs} ${first!.epochs === 1 ? "epoch" : "epochs"}`,
    ],
    ["time to fit", timeOf, (time) => (time < 100 ? `${decimal(time, 1)}\u00a0s` : seconds(time))],
    [
      "of E²CM's",
      (kind) => (timeOf(kind) ?? Number.NaN) / (timeOf({ ...kind, method: "e2cm", budget: "one epoch" }) ?? Number.NaN),
      (ratio) => `${decimal(ratio, 1)}\u00a0×`,
    ],
    [
      "peak memory",
      ({ dataset, method }) =>
        // Gates take the memory of the exits that they are learned on.
        memory.find((row) => row.dataset === dataset && row.method === (method === "bwds" ? "sdn" : method))?.bytes,
      mebibytes,
    ],
    [
      "seeds",
      (kind) => {
        const seeds = alike(training, kind).flatMap(({ seed }) => seed ?? []);
        const steps = alike(diverged, kind).map(({ seed, step }) => `seed ${seed} in step ${step}`);
        return `${seeds.length === 0 ? "none" : seeds.length}${steps.length === 0 ? "" : `; diverged: ${steps.join(", ")}`}`;
      },
    ],
  ]);
}

export function mebibytes(bytes: number): string {
  return `${count(bytes / 2 ** 20)}\u00a0MiB`;
}

/** The cheapest settings within some losses. */
export function withinTable(result: RivalsResult, datasets: readonly RivalData[]): Table {
  const kinds = kindsOf(inOrder(result.within, datasets));
  const losses = distinct(result.within.map(({ wantedLoss }) => wantedLoss));
  const within = losses.map(
    (loss): Column<(typeof kinds)[number]> => [
      `aimed at losing ${points(loss)}`,
      ({ rows }) => {
        const own = rows.filter(({ wantedLoss }) => wantedLoss === loss);
        const costs = own.flatMap(({ macsFraction }) => macsFraction ?? []);
        if (costs.length === 0) return undefined;
        const missing = own.length - costs.length;
        if (missing > 0) return `not kept with ${missing} of ${own.length} seeds`;
        return `${times(spread(costs).mean)}, ${spreadWords(spread(own.map(({ accuracy }) => accuracy!)))}`;
      },
    ],
  );
  return tableOf(kinds, [...kindColumns(result, datasets), ...within]);
}

/** Wall clock of every method in stages. */
export function wallTable(result: RivalsResult, datasets: readonly RivalData[]): Table {
  const { settings } = result;
  const asked: Readonly<Record<string, string>> = {
    loss: `aimed at losing ${settings === undefined ? "a little" : points(settings.timedLoss)}`,
    cost: `at most ${settings === undefined ? "so much" : percent(settings.timedFraction)} of the MACs`,
  };
  return tableOf(inOrder(result.wall, datasets), [
    ...kindColumns(result, datasets),
    ["asked", (row) => asked[row.asked] ?? row.asked],
    ["MACs", "macsFraction", times],
    ["time", "wallFraction", times],
    ["plain ms", ({ plainMs }) => plainMs.toFixed(2)],
    ["in stages ms", ({ stagedMs }) => stagedMs.toFixed(2)],
    ["right", ({ accuracy, within }) => `${exact(accuracy)}${within ? "" : " (loss not kept)"}`],
    ["plain network", "fullAccuracy", exact],
    ["points lost", pointsLost],
  ]);
}

/** Who is how accurate for how much on one data set: the README's lines. */
export function readmeTable({ rows, training, settings }: RivalsResult, dataset: string): Table {
  const epochs = `${settings!.epochs} epochs`;
  const line = (method: string, budget: string, words: string) => ({ dataset, method, budget, words });
  const lines = [
    line("e2cm", "one epoch", "class means with a shared covariance, one pass"),
    line("e2cm-places", "one epoch", "the same, exits at the places of the following"),
    line("sdn", "one epoch", "Shallow-Deep exits, one epoch"),
    line("branchynet", "one epoch", "BranchyNet, one epoch"),
    line("sdn", "unlimited", `Shallow-Deep exits, ${epochs}`),
    line("e2cm-sdn", "unlimited", `the same with class distances (E²CM + SDN), ${epochs}`),
    line("e2cm-sdn-shared", "unlimited", `the same with distances by a shared covariance, ${epochs}`),
  ];
  return tableOf(lines, [
    ["", "words"],
    ...costColumns<(typeof lines)[number]>([0.25, 0.5, 0.75], (kind) => alike(rows, kind)),
    ["fitting", (kind) => spread(alike(training, kind).flatMap((row) => row.seconds ?? [])).mean, seconds],
  ]);
}
