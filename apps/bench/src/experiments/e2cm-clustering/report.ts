import { COLUMN, caption, details, figure } from "../../report/chart.ts";
import { dataFiles } from "../../report/files.ts";
import { type Html, html } from "../../report/html.ts";
import { type Line, lineChart, percentAxis } from "../../report/lines.ts";
import { machine } from "../../report/machine.ts";
import type { Block } from "../../report/markdown.ts";
import { count, decimal, digits, exact, percent, points, spreadWords, times } from "../../report/numbers.ts";
import type { Headline, Report } from "../../report/report.ts";
import { distinct, grouped } from "../../report/series.ts";
import { type Table, tableOf } from "../../report/table.ts";
import { pairsWords, sizeWords } from "../../report/words.ts";
import type { Summary } from "../experiment.ts";
import type { ClusteringResult, Mean } from "./schema.ts";

/** Its chapter of the report. */
export function report(result: ClusteringResult): Report {
  const { data, recipe, means, runs, paper } = result;
  const sizes = data.length === 0 ? "Not recorded." : `${data.map(sizeWords).join("; ")}.`;
  const words = pairsWords(recipe);
  return {
    headline: headline(result),
    sections: [
      {
        id: "curve",
        title: "Clustering accuracy for computation",
        about:
          "Pictures whose cluster is clear after a layer or two leave there. How good are the clusters for how much computation?",
        of: means,
        content: () => [curves(result), details("Means over the runs", meansTable(result))],
      },
      {
        id: "paper",
        title: "Beside the paper",
        about: "The means over runs, where the paper's figure has its guide lines.",
        of: paper,
        content: () => [paperTable(result), caption(PAPER_WORDS)],
      },
      {
        id: "layers",
        title: "What each layer knows",
        about: "How good would the clusters be if every picture left after the same layer? Means over the runs.",
        of: runs,
        content: () => [layersTable(result)],
      },
      {
        id: "runs",
        title: "Every run",
        about: "A run begins with other weights, other k-means starts and another order of the pictures.",
        of: runs,
        content: () => [
          runsTable(result),
          caption(
            `${settledWords(result)} “Not settled”: its steps were used up first. “Differences in stages”: pictures that are answered otherwise, or leave elsewhere, when the network really stops early than when recorded confidences are replayed.`,
          ),
        ],
      },
    ],
    method: {
      Data: `${sizes} The training pictures are clustered and make the cluster means. No label is used for either; labels only name the clusters, on training pictures, and judge.`,
      Clustering: `An autoencoder learns to reconstruct the pictures; k-means finds centres among its codes; IDEC then trains both together, the reconstruction beside the divergence of soft assignments from a sharpened target. ${words === undefined ? "The recipe was not recorded." : `Recipe: ${words}`} ${settledWords(result)}`,
      Exits:
        "After each hidden layer of the encoder: distances of its full output to the means of the clusters, divided by the average distance over the training pictures; the nearest mean answers.",
      Thresholds:
        "One probability of answering as the plain network does, asked of all exits, chosen on one half of the test pictures without their labels and reported on the other half, both ways.",
      Accuracy:
        "Each cluster stands for one class, by the one-to-one assignment that fits the training pictures best under the plain network's clusters; the same names for every cost. NMI: normalised mutual information, arithmetic mean; ARI: adjusted Rand index; neither needs names.",
      Cost: "Multiply-accumulates of one picture: the encoder up to the layer it leaves at, plus every exit it passed. 100 % is the plain encoder.",
    },
    data: data.map(({ name }) => name),
    files: dataFiles(data.flatMap(({ files }) => files)),
  };
}

const PAPER_WORDS =
  "The paper's numbers are read from its figure, to half a point. At its least cost every picture leaves after the first layer; our cost counts the exit itself, too.";

/** What stopping early saves within a point of the plain network's clustering accuracy. */
function headline(result: ClusteringResult): Headline {
  const { saving, means, runs, paper } = result;
  const [first] = saving;
  const plain = plainOf(means, first?.dataset);
  if (first === undefined || plain === undefined) {
    return { sentence: "Early exit by cluster means: nothing was measured in this run." };
  }
  const { dataset, point, fullAccuracy } = first;
  const own = runs.filter((run) => run.dataset === dataset);
  const cheapest = means.find((mean) => mean.dataset === dataset && mean.budget !== null);
  const judged = paper.filter(({ status }) => status === "reached" || status.startsWith("below"));
  const reached = judged.filter(({ status }) => status === "reached").length;
  const beside =
    judged.length === 0
      ? "Only all pictures of a data set can be compared with the paper."
      : `${reached} of ${judged.length} points of the paper's curves that could be compared are reached.`;
  const over = plain.runs === 1 ? "one run" : `${plain.runs} runs`;
  const { deviation } = overRuns(plain);
  const spread = deviation === undefined ? "" : `, ± ${points(deviation)} over runs`;
  const fact = (value: string, name: string) => ({ value, name });
  const sum = (value: (run: (typeof own)[number]) => number) => count(own.reduce((all, run) => all + value(run), 0));
  return {
    sentence:
      point === null
        ? `${dataset}, clustered without labels: no cost below the plain network's keeps its ${percent(fullAccuracy, 1)} to within a point.`
        : `${dataset}, clustered without labels: ${percent(point.macsFraction)} of the computation keeps the clustering accuracy to within a point, ${percent(point.accuracy, 1)} instead of ${percent(fullAccuracy, 1)} (mean of ${over}).`,
    detail: ["The point is read off the curve of means; its thresholds saw no label.", beside, settledWords(result)]
      .join(" ")
      .trimEnd(),
    facts: [
      point && fact(percent(1 - point.macsFraction), "of the computation saved"),
      fact(percent(plain.accuracy, 1), `clustering accuracy of the plain network${spread}`),
      cheapest &&
        fact(percent(cheapest.accuracy, 1), `if all leave after the first layer, at ${percent(cheapest.macsFraction)}`),
      fact(decimal(plain.nmi, 3), "NMI of the plain network"),
      fact(
        sum(({ staged }) => staged.differences),
        `of ${sum(({ staged }) => staged.pictures)} pictures differ when run in stages`,
      ),
    ].filter((one) => one != null),
  };
}

function plainOf(means: readonly Mean[], dataset: string | undefined): Mean | undefined {
  return means.find((mean) => mean.dataset === dataset && mean.budget === null);
}

/** How many runs ended by themselves, and how long the method of the paper trains. */
function settledWords({ runs, recipe }: ClusteringResult): string {
  if (runs.length === 0) return "";
  const settled = runs.filter((run) => run.settled).length;
  const { tolerance } = recipe;
  const meaning =
    typeof tolerance === "number" ? ` (fewer than ${decimal(100 * tolerance, 1)} % of answers changed)` : "";
  return `${count(settled)} of ${count(runs.length)} runs had settled${meaning}; IDEC itself trains up to 20,000 steps, its autoencoder for hundreds of epochs.`;
}

/** Clustering accuracy for cost, one figure a data set: every run, their mean, the paper's mean. */
function curves(result: ClusteringResult): Html {
  const figures = distinct(result.means.map((mean) => mean.dataset)).map((dataset) => {
    const lines = linesOf(result, dataset);
    const plain = plainOf(result.means, dataset)?.accuracy;
    const ends = [...lines.flatMap((line) => line.points.map(({ y }) => y)), ...(plain === undefined ? [] : [plain])];
    const costs = lines.flatMap((line) => line.points.map(({ x }) => x));
    const chart = {
      label: `${dataset}: clustering accuracy by cost`,
      lines,
      x: percentAxis("MACs, share of the plain network's", [0.2, Math.max(1, ...costs)]),
      y: percentAxis("clustering accuracy, test pictures", [
        Math.floor(20 * Math.min(...ends)) / 20,
        Math.ceil(20 * Math.max(...ends) + 0.2) / 20,
      ]),
      height: 400,
      phoneHeight: 320,
      reference: plain === undefined ? undefined : { y: plain, name: `plain network, mean: ${percent(plain, 1)}` },
    };
    return html`<h3>${dataset}</h3>${lineChart(chart, COLUMN)}`;
  });
  const grey = result.rows.length === 0 ? "" : "Grey: every run, with a seed of its own. ";
  return figure(
    figures,
    `${grey}A picture's cluster is right when the class the cluster stands for is the picture's; clusters are named once, by the training pictures.`,
  );
}

function linesOf({ rows, means, paper }: ClusteringResult, dataset: string): Line[] {
  const early = <R extends { readonly dataset: string; readonly budget: number | null }>(all: readonly R[]) =>
    all.filter((row) => row.dataset === dataset && row.budget !== null);
  const own = early(rows);
  const ours = early(means);
  const runs = ours[0]?.runs ?? 0;
  return [
    ...grouped(own, ({ run }) => run).map(([run, one]): Line => {
      const points = one.map(({ macsFraction, accuracy }) => ({ x: macsFraction, y: accuracy, title: "" }));
      return { name: `run ${run}`, color: "var(--axis)", quiet: true, points };
    }),
    {
      name: "the paper's mean",
      color: "var(--red)",
      dashed: true,
      points: paper
        .filter((row) => row.dataset === dataset)
        .map(({ macsFraction: x, paper: y }) => ({
          x,
          y,
          title: `Paper: ${percent(y, 1)} at ${percent(x, 1)} of the MACs`,
        })),
    },
    {
      name: runs > 1 ? `mean of ${runs} runs` : "this run",
      color: "var(--blue)",
      points: ours.map((mean) => ({
        x: mean.macsFraction,
        y: mean.accuracy,
        title: `${spreadWords(overRuns(mean), 1)} at ${percent(mean.macsFraction, 1)} of the MACs`,
      })),
    },
  ];
}

/** Accuracy and deviation; none for a single run, of which older results say 0. */
function overRuns({ accuracy, deviation, runs }: Mean) {
  return { mean: accuracy, deviation: runs === 1 ? undefined : deviation };
}

function meansTable({ means, paper }: Pick<ClusteringResult, "means" | "paper">): Table {
  return tableOf(means, [
    ["data", "dataset"],
    ["largest cost allowed", ({ budget }) => budget ?? "plain network", times],
    ["MACs", "macsFraction", times],
    ["clustering accuracy, mean ± deviation", (mean) => spreadWords(overRuns(mean))],
    [
      "the paper",
      ({ dataset, budget }) =>
        paper.find((row) => row.dataset === dataset && row.macsFraction === (budget ?? 1))?.paper,
      exact,
    ],
    ["NMI", "nmi", digits(3)],
    ["ARI", "ari", digits(3)],
    ["same cluster as the plain network", "agreement", exact],
    ["runs", "runs"],
  ]);
}

/** What the paper says, what was measured. */
function paperTable({ paper }: ClusteringResult): Table {
  return tableOf(paper, [
    ["data", "dataset"],
    ["cost in the paper", "macsFraction", times],
    ["the paper says", "paper", exact],
    ["we measured", ({ measured }) => measured?.accuracy, exact],
    ["at a cost of", ({ measured }) => measured?.macsFraction, times],
    ["status", "status"],
  ]);
}

/** Accuracy if every picture left after the same layer, the mean over runs. */
function layersTable({ runs, means }: ClusteringResult): Table {
  const rows = grouped(runs, ({ dataset }) => dataset).flatMap(([dataset, own]) => {
    const exits = own[0]!.perExit.map(({ exit, macsFraction }, index) => {
      const mean = (key: "accuracy" | "nmi" | "ari") =>
        own.reduce((sum, run) => sum + run.perExit[index]![key] / own.length, 0);
      const after = exit.replace(/^layer/, "layer ");
      return { dataset, after, macsFraction, accuracy: mean("accuracy"), nmi: mean("nmi"), ari: mean("ari") };
    });
    const plain = plainOf(means, dataset);
    return plain === undefined ? exits : [...exits, { ...plain, after: "plain network", macsFraction: 1 }];
  });
  return tableOf(rows, [
    ["data", "dataset"],
    ["leaving after", "after"],
    ["MACs", "macsFraction", times],
    ["clustering accuracy, mean", "accuracy", exact],
    ["NMI", "nmi", digits(3)],
    ["ARI", "ari", digits(3)],
  ]);
}

/** Every run: how good its clusters are, and what keeping them costs. */
function runsTable({ runs }: ClusteringResult): Table {
  return tableOf(runs, [
    ["data, run", ({ dataset, run }) => `${dataset}, ${run}`],
    ["seed", "seed"],
    ["k-means, training", ({ kmeans }) => kmeans.accuracy, exact],
    ["IDEC, training", ({ train }) => train.accuracy, exact],
    ["IDEC, test", ({ full }) => full.accuracy, exact],
    ["NMI", ({ full }) => full.nmi, digits(3)],
    ["ARI", ({ full }) => full.ari, digits(3)],
    ["steps", ({ steps, settled }) => `${count(steps)}${settled ? ", settled" : ", not settled"}`],
    ["MACs for 99 % of its clusters", ({ faithful }) => faithful.macsFraction, times],
    ["accuracy there", ({ faithful }) => faithful.accuracy, exact],
    ["differences in stages", ({ staged }) => `${count(staged.differences)} of ${count(staged.pictures)}`],
  ]);
}

function savingWords({ saving }: Pick<ClusteringResult, "saving">): readonly string[] {
  return saving.map(({ dataset, fullAccuracy, point }) =>
    point === null
      ? `${dataset}: no point of the mean curve is within a point of the plain network's ${exact(fullAccuracy)}.`
      : `${dataset}: within a point of the plain network's ${exact(fullAccuracy)} at ${times(point.macsFraction)} of the MACs, ${exact(point.accuracy)} (read off the mean curve).`,
  );
}

/** Its part of docs/measured.md. */
export function measured(result: ClusteringResult): readonly Block[] {
  const { layers, pretrainingEpochs, kmeansStarts, gamma, mostUpdates, updateEvery, batch } = result.recipe;
  return [
    "## Early exit by cluster means (IDEC), no labels",
    `${result.data.map((data) => `${sizeWords(data)}.`).join(" ")} ${machine(result)}.`,
    `An autoencoder (${(layers as number[]).join("-")}, ${pretrainingEpochs} epochs), k-means (${kmeansStarts} starts) and IDEC (γ = ${gamma}, at most ${mostUpdates} × ${updateEvery} steps of ${batch}) cluster the training pictures; exits after every hidden layer. Thresholds from one half of the test pictures, for agreement with the network's own clusters and without labels, reported on the other half, both ways. Labels name the clusters, on training pictures, and judge. NMI: normalised by the arithmetic mean.`,
    settledWords(result),
    meansTable(result),
    ...savingWords(result),
    "### Accuracy if all pictures leave after the same layer",
    layersTable(result),
    "### The paper says, we measured",
    paperTable(result),
    PAPER_WORDS,
    "### Every run",
    runsTable(result),
  ];
}

/** What the terminal shows at the end. */
export function summary(result: ClusteringResult): Summary {
  const differ = result.runs.map(({ dataset, run, faithful, full, staged }) => {
    const came = `${times(faithful.macsFraction)} of the MACs and ${exact(faithful.accuracy)} (plain ${exact(full.accuracy)})`;
    return `${dataset}, run ${run}: aimed at 99 % of the network's own clusters, ${came}; ${staged.differences} of ${staged.pictures} pictures differ when run in stages.`;
  });
  return {
    table: meansTable(result),
    notes: [
      ...savingWords(result),
      ...differ,
      "Thresholds come from one half of the test pictures, by agreement with the network's own clusters, and are reported on the " +
        "other half, both ways. Classes only name the clusters, on training pictures, and judge.",
    ],
  };
}
