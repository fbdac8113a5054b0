import { InputError } from "@exitkit/core-gpu";
import { dataOf, limited } from "../../data/directory.ts";
import { onDevice } from "../../measuring/device.ts";
import { seedsOf } from "../../measuring/seeds.ts";
import { spread } from "../../measuring/spread.ts";
import { FULL_RECIPE, QUICK_RECIPE, type Recipe } from "../../training/recipe.ts";
import { type EpochRow, type TrainedRow, trainNetwork } from "../../training/train-network.ts";
import { trainableResnet } from "../../zoo/train-resnet.ts";
import { type Context, experiment } from "../experiment.ts";
import { EPOCHS, PICTURES, SEEDS } from "../options.ts";
import { check } from "./check.ts";
import { adopt, keep, measured, readme } from "./measured.ts";
import { report, summary } from "./report.ts";
import { schema } from "./schema.ts";

interface Settings {
  readonly recipe: Recipe;
  /** Pictures at most; the quick preset uses as many as the repository's subset holds. */
  readonly train: number;
  readonly test: number;
}

/** ResNet-20 trained from scratch. */
export const trainCifar10 = experiment({
  name: "train-cifar10",
  title: "ResNet-20 trained from scratch on CIFAR-10",
  about:
    "Random crops and mirroring, SGD with Nesterov momentum, one cycle of the learning rate; the learning curve, and the " +
    "spread over seeds with --seeds. Killed at any moment it goes on with the same bits. peers/train_cifar10.py is the same in PyTorch.",
  heading: "Training from scratch",
  takes: [SEEDS, PICTURES, EPOCHS],
  reads: ["cifar10"],
  presets: {
    quick: { recipe: QUICK_RECIPE, train: 5000, test: 2500 },
    full: { recipe: FULL_RECIPE, train: Number.POSITIVE_INFINITY, test: Number.POSITIVE_INFINITY },
  },
  schema,
  run,
  summary,
  report,
  measured,
  readme,
  keep,
  adopt,
  check,
});

async function run(context: Context, settings: Settings) {
  const { extras, run: folder, progress } = context;
  const all = await context.data.cifar10();
  const pictures = extras.pictures ?? Math.min(settings.train, all.train.n);
  if (pictures > all.train.n) {
    const expectation = `--pictures must be at most the ${all.train.n} of ${all.name}`;
    throw new InputError("bench run", expectation, String(pictures), "Fetch all of them: bench data cifar10");
  }
  const recipe = { ...settings.recipe, epochs: extras.epochs ?? settings.recipe.epochs };
  if (Math.floor(pictures / recipe.batch) * recipe.epochs < 2) {
    const expectation = `--pictures and --epochs must make at least two steps of ${recipe.batch} pictures`;
    throw new InputError("bench run", expectation, `${pictures} pictures, ${recipe.epochs} epochs`);
  }
  const data = limited(all, { train: pictures, test: settings.test });
  const { train, test } = data;
  return onDevice(context, async (device) => {
    const [rows, curve]: [TrainedRow[], EpochRow[]] = [[], []];
    const given = { device, network: trainableResnet(20), recipe, train, test, run: folder, progress };
    for (const seed of seedsOf(context)) {
      const trained = await folder.step(`seed${seed}`, async () => {
        const { row, curve } = await trainNetwork({ ...given, seed });
        return { row, curve };
      });
      rows.push(trained.row);
      curve.push(...trained.curve);
    }
    const spread = spreadOf(rows);
    return {
      ranOn: device.kind,
      data: dataOf(data),
      recipe: { ...recipe },
      rows,
      curve,
      ...(spread === undefined ? {} : { spread }),
    };
  });
}

/** Test accuracy over the seeds: mean, standard deviation (n − 1), least and most. Undefined for one seed. */
export function spreadOf(rows: readonly Pick<TrainedRow, "testAccuracy">[]) {
  if (rows.length < 2) return undefined;
  const values = rows.map((row) => row.testAccuracy);
  const { mean, deviation } = spread(values);
  return { seeds: values.length, mean, deviation: deviation!, least: Math.min(...values), most: Math.max(...values) };
}
