// Early exit by cluster means.
// @ts-check
import { machine, percent, table, times } from "./words.mjs";

/** What docs/results holds: the means say what the rows do. */
export function keep({ rows, ...result }) {
  return result;
}

/** Its part of docs/measured.md. */
export function page(result) {
  const { data, means, saving, paper, runs, recipe } = result;
  const sizes = data.map(
    ({ name, train, test }) =>
      `${name}: ${train.toLocaleString("en")} training and ${test.toLocaleString("en")} test pictures.`,
  );
  return [
    "## Early exit by cluster means (IDEC), no labels",
    "",
    `${sizes.join(" ")} ${machine(result)}.`,
    "",
    `An autoencoder (${recipe.layers.join("-")}, ${recipe.pretrainingEpochs} epochs), k-means (${recipe.kmeansStarts} starts) and IDEC (γ = ${recipe.gamma}, at most ${recipe.mostUpdates} × ${recipe.updateEvery} steps of ${recipe.batch}) cluster the training pictures; exits after every hidden layer. Thresholds from one half of the test pictures, for agreement with the network's own clusters and without labels, reported on the other half, both ways. Labels name the clusters, on training pictures, and judge.`,
    "",
    table(
      [
        "data",
        "largest cost allowed",
        "MACs",
        "clustering accuracy, mean ± deviation",
        "NMI",
        "ARI",
        "same cluster",
        "runs",
      ],
      means.map((mean) => [
        mean.dataset,
        mean.budget === null ? "plain network" : times(mean.budget),
        times(mean.macsFraction),
        `${percent(mean.accuracy)} ± ${(100 * mean.deviation).toFixed(2)}`,
        mean.nmi.toFixed(3),
        mean.ari.toFixed(3),
        percent(mean.agreement),
        String(mean.runs),
      ]),
    ),
    "",
    ...saving.flatMap(({ dataset, fullAccuracy, point }) => [
      point === null
        ? `${dataset}: no point of the mean curve is within a point of the plain network's ${percent(fullAccuracy)}.`
        : `${dataset}: within a point of the plain network's ${percent(fullAccuracy)} at ${times(point.macsFraction)} of the MACs, ${percent(point.accuracy)} (read off the mean curve).`,
      "",
    ]),
    "### The paper says, we measured",
    "",
    table(
      ["data", "cost", "the paper says", "we measured", "at", "status"],
      paper.map(({ dataset, macsFraction, paper: theirs, measured, status }) => [
        dataset,
        times(macsFraction),
        percent(theirs),
        measured === null ? "" : percent(measured.accuracy),
        measured === null ? "" : times(measured.macsFraction),
        status,
      ]),
    ),
    "",
    "The paper's numbers are read from its figure, ± half a point. At its least cost all pictures leave after the first layer; our cost counts the exit too.",
    "",
    "### Every run",
    "",
    table(
      [
        "data",
        "seed",
        "k-means, training",
        "IDEC, training",
        "IDEC, test",
        "steps",
        "MACs for 99 % of its clusters",
        "accuracy there",
        "differ in stages",
      ],
      runs.map((run) => [
        run.dataset,
        String(run.seed),
        percent(run.kmeans.accuracy),
        percent(run.train.accuracy),
        percent(run.full.accuracy),
        `${run.steps}${run.settled ? ", settled" : ""}`,
        times(run.faithful.macsFraction),
        percent(run.faithful.accuracy),
        `${run.staged.differences} of ${run.staged.pictures.toLocaleString("en")}`,
      ]),
    ),
    "",
  ];
}
