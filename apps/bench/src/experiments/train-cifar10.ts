import { InputError, openDevice } from "@exitkit/core-gpu";
import { slicePictures } from "../data/pictures.ts";
import { seedsOf } from "../measuring/seeds.ts";
import { spread } from "../measuring/spread.ts";
import { type TrainCifar10Result, trainCifar10Schema } from "../report/train-types.ts";
import { trainableResnet } from "../zoo/train-resnet.ts";
import type { Context } from "./experiment.ts";
import { type ExperimentResult, legacy } from "./legacy.ts";
import { EPOCHS, PICTURES, SEEDS } from "./options.ts";
import { FULL_RECIPE, QUICK_RECIPE } from "./train/recipe.ts";
import { type EpochRow, type TrainedRow, trainNetwork } from "./train/train-network.ts";
import { check } from "./train-cifar10/check.ts";

/** Pictures the quick preset uses at most, as many as the repository's subset holds. */
const QUICK = { train: 5000, test: 2500 } as const;

/** ResNet-20 trained from scratch. */
export const trainCifar10 = legacy(
  {
    name: "train-cifar10",
    heading: "Training from scratch",
    title: "ResNet-20 trained from scratch on CIFAR-10",
    about:
      "Random crops and mirroring, SGD with Nesterov momentum, one cycle of the learning rate; the learning curve, and the " +
      "spread over seeds with --seeds. Killed at any moment it goes on with the same bits. peers/train_cifar10.py is the same in PyTorch.",
    takes: [SEEDS, PICTURES, EPOCHS],
    run,
    check: (result) => check(result as unknown as TrainCifar10Result),
  },
  trainCifar10Schema,
);

async function run(context: Context): Promise<ExperimentResult> {
  const { preset, extras, run: folder, progress } = context;
  const data = await context.data.cifar10();
  const pictures = extras.pictures ?? (preset === "quick" ? Math.min(QUICK.train, data.train.n) : data.train.n);
  if (pictures > data.train.n) {
    const expectation = `--pictures must be at most the ${data.train.n} of ${data.name}`;
    throw new InputError("bench run", expectation, String(pictures), "Fetch all of them: bench data cifar10");
  }
  const usual = preset === "quick" ? QUICK_RECIPE : FULL_RECIPE;
  const recipe = { ...usual, epochs: extras.epochs ?? usual.epochs };
  if (Math.floor(pictures / recipe.batch) * recipe.epochs < 2) {
    const expectation = `--pictures and --epochs must make at least two steps of ${recipe.batch} pictures`;
    throw new InputError("bench run", expectation, `${pictures} pictures, ${recipe.epochs} epochs`);
  }
  const train = slicePictures(data.train, 0, pictures);
  const test = preset === "quick" ? slicePictures(data.test, 0, Math.min(QUICK.test, data.test.n)) : data.test;
  const device = await openDevice(context.device);
  const [rows, curve]: [TrainedRow[], EpochRow[]] = [[], []];
  try {
    for (const { kind, reason } of device.passedOver) progress.note(`not on ${kind}: ${reason}`);
    for (const own of seedsOf(context)) {
      const trained = await folder.step(`seed${own}`, async () => {
        const { row, curve } = await trainNetwork({
          device,
          network: trainableResnet(20),
          recipe,
          seed: own,
          train,
          test,
          run: folder,
          progress,
        });
        return { row, curve };
      });
      rows.push(trained.row);
      curve.push(...trained.curve);
    }
  } finally {
    await device.close();
  }
  const spread = spreadOf(rows);
  return {
    values: {
      ranOn: device.kind,
      data: { name: data.name, complete: data.complete, train: pictures, test: test.n, files: data.files },
      recipe,
      rows,
      curve,
      ...(spread === undefined ? {} : { spread }),
    },
    summary: summary(rows, curve, spread),
  };
}

/** Test accuracy over the seeds: mean, standard deviation (n − 1), least and most. Undefined for one seed. */
export function spreadOf(rows: readonly Pick<TrainedRow, "testAccuracy">[]) {
  if (rows.length < 2) return undefined;
  const values = rows.map((row) => row.testAccuracy);
  const { mean, deviation } = spread(values);
  return { seeds: values.length, mean, deviation: deviation!, least: Math.min(...values), most: Math.max(...values) };
}

function summary(rows: readonly TrainedRow[], curve: readonly EpochRow[], spread: ReturnType<typeof spreadOf>) {
  const percent = (value: number) => `${(100 * value).toFixed(2)} %`;
  const shown =
    rows.length === 1
      ? curve
      : curve.filter(({ seed, epoch }) => epoch === rows.find((row) => row.seed === seed)?.epochs);
  const [row] = rows;
  return {
    head: [
      "seed",
      "epoch",
      "learning rate",
      "training loss",
      "training accuracy",
      "test loss",
      "test accuracy",
      "time",
    ],
    rows: shown.map((epoch) => [
      epoch.seed,
      epoch.epoch,
      epoch.learningRate.toPrecision(3),
      epoch.trainLoss.toFixed(3),
      percent(epoch.trainAccuracy),
      epoch.testLoss.toFixed(3),
      percent(epoch.testAccuracy),
      `${epoch.seconds.toFixed(0)} s`,
    ]),
    notes: [
      `${row!.network} on ${row!.pictures} pictures: ${row!.imagesPerSecond.toFixed(0)} training pictures a second.`,
      ...(spread === undefined
        ? []
        : [
            `${spread.seeds} seeds: test accuracy ${percent(spread.mean)} ± ${percent(spread.deviation)} (standard deviation), ` +
              `${percent(spread.least)} to ${percent(spread.most)}.`,
          ]),
    ],
  };
}
