import { COLUMN, details, figure, isPhone, NOT_MEASURED, responsive, table } from "./chart.ts";
import type { ClusteringResult } from "./clustering-types.ts";
import { settledWords } from "./clustering-words.ts";
import { type Html, html } from "./html.ts";
import { type Line, legacyChart } from "./lines.ts";
import { count, decimal, percent } from "./numbers.ts";
import { distinct } from "./series.ts";

type Mean = ClusteringResult["means"][number];

/** Clustering accuracy for cost, one figure a data set: every run, their mean, the paper's mean. */
export function clusteringCurveSection(result: ClusteringResult): Html {
  const datasets = distinct(result.rows.map((row) => row.dataset));
  if (datasets.length === 0) return NOT_MEASURED;
  const figures = datasets.map((dataset) => {
    const lines = linesOf(result, dataset);
    const plain = result.means.find((mean) => mean.dataset === dataset && mean.budget === null);
    const values = lines.flatMap(({ points }) => points.map(({ y }) => y));
    const ends = [...values, ...(plain === undefined ? [] : [plain.accuracy])];
    const domain = [Math.floor(20 * Math.min(...ends)) / 20, Math.ceil(20 * Math.max(...ends) + 0.2) / 20] as const;
    const costs = lines.flatMap(({ points }) => points.map(({ x }) => x));
    return html`<h3>${dataset}</h3>${responsive(
      (width) =>
        legacyChart({
          label: `${dataset}: clustering accuracy by cost`,
          lines,
          x: {
            label: "MACs, share of the plain network's",
            domain: [0.2, Math.max(1, ...costs)],
            format: (value) => percent(value),
          },
          y: { label: "clustering accuracy, test pictures", domain, format: (value) => percent(value) },
          width,
          height: isPhone(width) ? 320 : 400,
          ...(plain === undefined
            ? {}
            : { reference: { y: plain.accuracy, name: `plain network, mean: ${percent(plain.accuracy, 1)}` } }),
        }),
      COLUMN,
    )}`;
  });
  return html`${figure(
    figures,
    "Grey: every run, with a seed of its own. A picture's cluster is right when the class the cluster stands for is the picture's; clusters are named once, by the training pictures.",
  )}${details("Means over the runs", meansTable(result))}`;
}

function linesOf({ rows, means, paper }: ClusteringResult, dataset: string): Line[] {
  const own = rows.filter((row) => row.dataset === dataset && row.budget !== null);
  const runs = distinct(own.map((row) => row.run));
  const theirs = paper.filter((row) => row.dataset === dataset);
  return [
    ...runs.map((run): Line => {
      const points = own
        .filter((row) => row.run === run)
        .map((row) => ({ x: row.macsFraction, y: row.accuracy, title: "" }));
      return { name: `run ${run}`, color: "var(--axis)", quiet: true, points };
    }),
    {
      name: "the paper's mean",
      color: "var(--red)",
      dashed: true,
      points: theirs.map((row) => ({
        x: row.macsFraction,
        y: row.paper,
        title: `Paper: ${percent(row.paper, 1)} at ${percent(row.macsFraction, 1)} of the MACs`,
      })),
    },
    {
      name: runs.length > 1 ? `mean of ${runs.length} runs` : "this run",
      color: "var(--blue)",
      points: means
        .filter((mean) => mean.dataset === dataset && mean.budget !== null)
        .map((mean) => ({
          x: mean.macsFraction,
          y: mean.accuracy,
          title: `${percent(mean.accuracy, 1)}${spreadOf(mean)} at ${percent(mean.macsFraction, 1)} of the MACs`,
        })),
    },
  ];
}

function meansTable({ means }: ClusteringResult): Html {
  return table(
    [
      "data, largest cost allowed",
      "MACs",
      "accuracy",
      "deviation, points",
      "NMI",
      "ARI",
      "same cluster as the plain network",
    ],
    means.map((mean) => [
      `${mean.dataset}, ${settingOf(mean)}`,
      percent(mean.macsFraction, 1),
      percent(mean.accuracy, 1),
      spreadOf(mean).trimStart() || "–",
      decimal(mean.nmi, 3),
      decimal(mean.ari, 3),
      percent(mean.agreement, 1),
    ]),
  );
}

/** " ± 1.2"; nothing for a single run, of which older results say 0. */
function spreadOf({ deviation, runs }: Mean): string {
  return deviation === undefined || runs === 1 ? "" : ` ± ${decimal(100 * deviation, 1)}`;
}

function settingOf({ budget }: Pick<Mean, "budget">): string {
  return budget === null ? "plain network" : percent(budget, 1);
}

/** What the paper says, what was measured. */
export function paperSection({ paper }: ClusteringResult): Html {
  if (paper.length === 0) return NOT_MEASURED;
  return html`${table(
    ["data and cost in the paper", "the paper says", "we measured", "at a cost of", "status"],
    paper.map(({ dataset, macsFraction, paper: theirs, measured, status }) => [
      `${dataset}, ${percent(macsFraction, 1)}`,
      percent(theirs, 1),
      measured === null ? "–" : percent(measured.accuracy, 1),
      measured === null ? "–" : percent(measured.macsFraction, 1),
      status,
    ]),
  )}<p class="caption">The paper's numbers are read from its figure, to half a point. At its least cost every picture leaves after the first layer; our cost counts the exit itself, too.</p>`;
}

/** Every run: how good its clusters are, and what keeping them costs. */
export function runsSection(result: ClusteringResult): Html {
  const { runs } = result;
  if (runs.length === 0) return NOT_MEASURED;
  return html`${table(
    [
      "run",
      "seed",
      "k-means, training",
      "IDEC, training",
      "IDEC, test",
      "NMI",
      "ARI",
      "steps",
      "MACs for 99 % of its clusters",
      "accuracy there",
      "differences in stages",
    ],
    runs.map((run) => [
      `${run.dataset}, ${run.run}`,
      String(run.seed),
      percent(run.kmeans.accuracy, 1),
      percent(run.train.accuracy, 1),
      percent(run.full.accuracy, 1),
      decimal(run.full.nmi, 3),
      decimal(run.full.ari, 3),
      `${count(run.steps)}${run.settled ? ", settled" : ", not settled"}`,
      percent(run.faithful.macsFraction, 1),
      percent(run.faithful.accuracy, 1),
      `${count(run.staged.differences)} of ${count(run.staged.pictures)}`,
    ]),
  )}<p class="caption">${settledWords(result)} “Not settled”: its steps were used up first. “Differences in stages”: pictures that are answered otherwise, or leave elsewhere, when the network really stops early than when recorded confidences are replayed.</p>`;
}

/** Accuracy if every picture left after the same layer, the mean over runs. */
export function layersSection({ runs, means }: ClusteringResult): Html {
  const datasets = distinct(runs.map((run) => run.dataset));
  if (datasets.length === 0) return NOT_MEASURED;
  const body = datasets.flatMap((dataset) => {
    const own = runs.filter((run) => run.dataset === dataset);
    const exits = own[0]!.perExit.map(({ exit, macsFraction }, index) => {
      const mean = (value: (one: (typeof own)[number]["perExit"][number]) => number) =>
        own.reduce((sum, run) => sum + value(run.perExit[index]!) / own.length, 0);
      return [
        `${dataset}, ${exit.replace(/^layer/, "layer ")}`,
        percent(macsFraction, 1),
        percent(
          mean((one) => one.accuracy),
          1,
        ),
        decimal(
          mean((one) => one.nmi),
          3,
        ),
        decimal(
          mean((one) => one.ari),
          3,
        ),
      ];
    });
    const plain = means.find((one) => one.dataset === dataset && one.budget === null);
    if (plain === undefined) return exits;
    const last = [`${dataset}, plain network`, percent(1, 1), percent(plain.accuracy, 1), decimal(plain.nmi, 3)];
    return [...exits, [...last, decimal(plain.ari, 3)]];
  });
  return table(["leaving after", "MACs", "accuracy", "NMI", "ARI"], body);
}
