import { InputError, openDevice } from "@exitkit/core-gpu";
import type { Dataset } from "../data/directory.ts";
import { slicePictures } from "../data/pictures.ts";
import { whereThere } from "../data/source.ts";
import { clusteringSchema } from "../report/clustering-types.ts";
import { type Mean, meansOf, type Saving, savingOf } from "./clustering/means.ts";
import { type ClusteringRow, type ClusteringRun, FAITHFUL, measureRun } from "./clustering/measure.ts";
import { type PaperRow, paperRows } from "./clustering/paper.ts";
import { FULL_RECIPE, QUICK_RECIPE } from "./clustering/recipe.ts";
import type { Context } from "./experiment.ts";
import { type ExperimentResult, legacy } from "./legacy.ts";
import { EPOCHS, PICTURES, SEEDS } from "./options.ts";

/** Runs, and the pictures that are used of a data set at most. */
const SIZES = {
  quick: { runs: 2, train: 5000, test: 2000 },
  full: { runs: 10, train: 60_000, test: 10_000 },
} as const;

/** The unsupervised variant of E²CM: deep embedded clustering that stops early. */
export const e2cmClustering = legacy(
  {
    name: "e2cm-clustering",
    heading: "E²CM without labels",
    title: "Early exit by cluster means: deep embedded clustering (IDEC) of Fashion-MNIST and MNIST",
    about:
      "An autoencoder, k-means and IDEC cluster pictures without labels; every layer of the encoder gets an exit by cluster " +
      "means. Clustering accuracy against MACs over several runs, beside the paper's curve. Needs --data with the pictures.",
    takes: [SEEDS, PICTURES, EPOCHS],
    reads: ["fashionMnist", "mnist"],
    run,
  },
  clusteringSchema,
);

/** A data set as it was used. */
interface UsedData extends Pick<Dataset, "name" | "complete" | "files"> {
  /** Pictures of each part. */
  readonly train: number;
  readonly test: number;
}

async function run(context: Context): Promise<ExperimentResult> {
  const { preset, seed, extras, run: folder, progress } = context;
  const usual = preset === "quick" ? QUICK_RECIPE : FULL_RECIPE;
  const recipe = { ...usual, pretrainingEpochs: extras.epochs ?? usual.pretrainingEpochs };
  const sizes = SIZES[preset];
  const least = Math.max(recipe.batch, 10 * recipe.clusters);
  const pictures = extras.pictures ?? sizes.train;
  if (pictures < least) {
    throw new InputError("bench run", `--pictures must be at least ${least}, one batch`, String(pictures));
  }
  const datasets = await datasetsOf(context);
  const device = await openDevice(context.device);
  const rows: ClusteringRow[] = [];
  const runs: ClusteringRun[] = [];
  const used: UsedData[] = [];
  try {
    for (const { kind, reason } of device.passedOver) progress.note(`not on ${kind}: ${reason}`);
    for (const data of datasets) {
      const train = slicePictures(data.train, 0, Math.min(pictures, data.train.n));
      const test = slicePictures(data.test, 0, Math.min(sizes.test, data.test.n));
      const complete = data.complete && train.n === data.train.n && test.n === data.test.n;
      used.push({ name: data.name, complete, train: train.n, test: test.n, files: data.files });
      for (let index = 0; index < (extras.seeds ?? sizes.runs); index++) {
        const name = `${data.name.toLowerCase()}-run${index + 1}`;
        const subject = { name, seed: seed + index, device, recipe, train, test, run: folder, progress };
        const measured = await measureRun(subject, data.name, index + 1);
        runs.push(measured.run);
        rows.push(...measured.rows);
        const { full, kmeans } = measured.run;
        progress.note(
          `${name}: accuracy ${percent(full.accuracy)} on test pictures (k-means: ${percent(kmeans.accuracy)} on training pictures)`,
        );
      }
    }
  } finally {
    await device.close();
  }
  const means = meansOf(rows);
  const saving = savingOf(means);
  const whole = used.filter(({ complete }) => complete).map(({ name }) => name);
  const paper = paperRows(means, whole);
  return {
    values: { ranOn: device.kind, data: used, recipe, rows, runs, means, saving, paper },
    summary: summary(runs, means, saving, paper),
  };
}

/** Fashion-MNIST, and MNIST where the data folder has it. */
async function datasetsOf({ data, progress }: Context): Promise<readonly Dataset[]> {
  const fashion = await data.fashionMnist();
  const mnist = await whereThere("MNIST", data.mnist, progress);
  return mnist === null ? [fashion] : [fashion, mnist];
}

function summary(
  runs: readonly ClusteringRun[],
  means: readonly Mean[],
  saving: readonly Saving[],
  paper: readonly PaperRow[],
) {
  return {
    head: ["data", "setting", "MACs", "accuracy", "NMI", "ARI", "same cluster", "paper"],
    rows: means.map((mean) => {
      const { dataset, budget, macsFraction, accuracy, deviation, nmi, ari, agreement } = mean;
      const theirs = paper.find((row) => row.dataset === dataset && row.macsFraction === (budget ?? 1));
      return [
        dataset,
        budget === null ? "plain network" : `cost ≤ ${budget}`,
        `${macsFraction.toFixed(3)} ×`,
        `${percent(accuracy)}${deviation === undefined ? "" : ` ± ${(100 * deviation).toFixed(2)}`}`,
        nmi.toFixed(3),
        ari.toFixed(3),
        percent(agreement),
        theirs === undefined ? "" : percent(theirs.paper),
      ];
    }),
    notes: [
      ...saving.map(({ dataset, fullAccuracy, point }) =>
        point === null
          ? `${dataset}: no point of the mean curve is within a point of the plain network's ${percent(fullAccuracy)}.`
          : `${dataset}: ${percent(point.accuracy)} for ${point.macsFraction.toFixed(3)} of the MACs, within a point of the ` +
            `plain network's ${percent(fullAccuracy)} (read off the mean curve of ${point.runs} runs).`,
      ),
      ...runs.map(({ dataset, run, faithful, full, staged }) => {
        const asked = `${dataset}, run ${run}: asked for ${percent(FAITHFUL)} of the network's own clusters, `;
        const came = `${faithful.macsFraction.toFixed(3)} of the MACs and ${percent(faithful.accuracy)} (plain ${percent(full.accuracy)}); `;
        return `${asked}${came}${staged.differences} of ${staged.pictures} pictures differ when run in stages.`;
      }),
      "Thresholds come from one half of the test pictures, by agreement with the network's own clusters, and are reported on the " +
        "other half, both ways. Classes only name the clusters, on training pictures, and judge.",
    ],
  };
}

function percent(value: number): string {
  return `${(100 * value).toFixed(2)} %`;
}
