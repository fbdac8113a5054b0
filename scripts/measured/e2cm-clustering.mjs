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
    `An autoencoder (${recipe.layers.join("-")}, ${recipe.pretrainingEpochs} epochs), k-means (${recipe.kmeansStarts} starts) and IDEC (γ = ${recipe.gamma}, at most ${recipe.mostUpdates} × ${recipe.updateEvery} steps of ${recipe.batch}) cluster the training pictures; exits after every hidden layer. Thresholds from one half of the test pictures, for agreement with the network's own clusters and without labels, reported on the other half, both ways. Labels name the clusters, on training pictures, and judge. NMI: normalised by the arithmetic mean.`,
    "",
    settled(result),
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
        `${percent(mean.accuracy)}${mean.deviation === undefined || mean.runs === 1 ? "" : ` ± ${(100 * mean.deviation).toFixed(2)}`}`,
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
    "### Accuracy if all pictures leave after the same layer",
    "",
    layers(runs, means),
    "",
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
        `${run.steps}${run.settled ? ", settled" : ", not settled"}`,
        times(run.faithful.macsFraction),
        percent(run.faithful.accuracy),
        `${run.staged.differences} of ${run.staged.pictures.toLocaleString("en")}`,
      ]),
    ),
    "",
  ];
}

/** How many runs ended by themselves, and how long the method of the paper trains. */
function settled({ runs, recipe }) {
  const ended = runs.filter((run) => run.settled).length;
  return `${ended} of ${runs.length} runs had settled (fewer than ${(100 * recipe.tolerance).toFixed(1)} % of answers changed); IDEC itself trains up to 20,000 steps, its autoencoder for hundreds of epochs.`;
}

/** Means over the runs of a data set, and the plain network's. */
function layers(runs, means) {
  const datasets = [...new Set(runs.map(({ dataset }) => dataset))];
  const rows = datasets.flatMap((dataset) => {
    const own = runs.filter((run) => run.dataset === dataset);
    const plain = means.find((mean) => mean.dataset === dataset && mean.budget === null);
    const line = (place, { macsFraction, accuracy, nmi, ari }) => [
      dataset,
      place,
      times(macsFraction),
      percent(accuracy),
      nmi.toFixed(3),
      ari.toFixed(3),
    ];
    const exits = own[0].perExit.map(({ exit }, at) => {
      const mean = (value) => own.reduce((sum, { perExit }) => sum + value(perExit[at]) / own.length, 0);
      return line(exit.replace(/^layer/, "layer "), {
        macsFraction: mean((one) => one.macsFraction),
        accuracy: mean((one) => one.accuracy),
        nmi: mean((one) => one.nmi),
        ari: mean((one) => one.ari),
      });
    });
    return [...exits, line("plain network", plain)];
  });
  return table(["data", "leaving after", "MACs", "clustering accuracy, mean", "NMI", "ARI"], rows);
}
