import { InputError } from "@exitkit/core-gpu";
import { type Dataset, dataOf, limited } from "../../data/directory.ts";
import { whereThere } from "../../data/source.ts";
import { onDevice } from "../../measuring/device.ts";
import { seedsOf } from "../../measuring/seeds.ts";
import { exact } from "../../report/numbers.ts";
import { type Context, experiment } from "../experiment.ts";
import { EPOCHS, PICTURES, SEEDS } from "../options.ts";
import { meansOf, savingOf } from "./means.ts";
import { measureRun } from "./measure.ts";
import { paperRows } from "./paper.ts";
import { FULL_RECIPE, QUICK_RECIPE, type Recipe } from "./recipe.ts";
import { measured, report, summary } from "./report.ts";
import { type ClusteringResult, type ClusteringRow, type ClusteringRun, schema } from "./schema.ts";

interface Settings {
  readonly recipe: Recipe;
  readonly runs: number;
  /** Pictures that are used of a data set at most. */
  readonly train: number;
  readonly test: number;
}

/** The unsupervised variant of E²CM: deep embedded clustering that stops early. */
export const e2cmClustering = experiment({
  name: "e2cm-clustering",
  title: "Early exit by cluster means: deep embedded clustering (IDEC) of Fashion-MNIST and MNIST",
  about:
    "An autoencoder, k-means and IDEC cluster pictures without labels; every layer of the encoder gets an exit by cluster " +
    "means. Clustering accuracy against MACs over several runs, beside the paper's curve. Needs --data with the pictures.",
  heading: "E²CM without labels",
  takes: [SEEDS, PICTURES, EPOCHS],
  reads: ["fashionMnist", "mnist"],
  presets: {
    quick: { recipe: QUICK_RECIPE, runs: 2, train: 5000, test: 2000 },
    full: { recipe: FULL_RECIPE, runs: 10, train: 60_000, test: 10_000 },
  },
  schema,
  run,
  summary,
  report,
  measured,
  // The means say what the rows do.
  keep: ({ rows, ...result }) => ({ value: result }),
});

async function run(context: Context, settings: Settings) {
  const { extras, run: folder, progress } = context;
  const recipe = { ...settings.recipe, pretrainingEpochs: extras.epochs ?? settings.recipe.pretrainingEpochs };
  const least = Math.max(recipe.batch, 10 * recipe.clusters);
  const pictures = extras.pictures ?? settings.train;
  if (pictures < least) {
    throw new InputError("bench run", `--pictures must be at least ${least}, one batch`, String(pictures));
  }
  const most = { train: pictures, test: settings.test };
  const datasets = (await datasetsOf(context)).map((data) => limited(data, most));
  return onDevice(context, async (device) => {
    const rows: ClusteringRow[] = [];
    const runs: ClusteringRun[] = [];
    const used: ClusteringResult["data"][number][] = [];
    for (const data of datasets) {
      used.push(dataOf(data));
      const { train, test } = data;
      for (const [index, seed] of seedsOf(context, settings.runs).entries()) {
        const name = `${data.name.toLowerCase()}-run${index + 1}`;
        const subject = { name, seed, device, recipe, train, test, run: folder, progress };
        const measured = await measureRun(subject, data.name, index + 1);
        runs.push(measured.run);
        rows.push(...measured.rows);
        const [full, kmeans] = [measured.run.full, measured.run.kmeans].map(({ accuracy }) => exact(accuracy));
        progress.note(`${name}: accuracy ${full} on test pictures (k-means: ${kmeans} on training pictures)`);
      }
    }
    const means = meansOf(rows);
    const whole = used.filter(({ complete }) => complete).map(({ name }) => name);
    const paper = paperRows(means, whole);
    return { ranOn: device.kind, data: used, recipe: { ...recipe }, rows, runs, means, saving: savingOf(means), paper };
  });
}

/** Fashion-MNIST, and MNIST where the data folder has it. */
async function datasetsOf({ data, progress }: Context): Promise<readonly Dataset[]> {
  const fashion = await data.fashionMnist();
  const mnist = await whereThere("MNIST", data.mnist, progress);
  return mnist === null ? [fashion] : [fashion, mnist];
}
