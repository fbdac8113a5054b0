import type { Device } from "@exitkit/core-gpu";
import { limited } from "../../data/directory.ts";
import type { Pictures } from "../../data/pictures.ts";
import { type TrainedRow, trainNetwork } from "../../training/train-network.ts";
import { trainedWeights } from "../../zoo/resnet.ts";
import { trainableResnet } from "../../zoo/train-resnet.ts";
import { readWeights, type Weights } from "../../zoo/weights.ts";
import type { Context } from "../experiment.ts";
import type { ChosenDataset } from "./datasets.ts";
import { type Material, rivalNetwork } from "./network.ts";
import type { RivalSettings } from "./settings.ts";

/** One data set with its plain network. */
export interface Subject {
  /** As far as it is used. */
  readonly dataset: ChosenDataset;
  readonly material: Material;
  readonly test: Pictures;
  readonly depth: number;
  readonly weights: Weights;
  /** How the plain network was trained here; null for a pretrained one. */
  readonly trained: TrainedRow | null;
}

/** The plain network of a data set: pretrained for CIFAR-10, trained here for the others and kept for a resumed run. */
export async function prepare(
  context: Context,
  device: Device,
  dataset: ChosenDataset,
  settings: RivalSettings,
): Promise<Subject> {
  const { run, progress, seed, extras } = context;
  const { name } = dataset;
  const data = limited(dataset.data, { train: extras.pictures ?? settings.train, test: settings.test });
  const { train, test, normalisation, augmentation, classNames } = data;
  const made = async (depth: number, weights: Weights, trained: TrainedRow | null) => {
    const network = await rivalNetwork(device, depth, weights, train.shape);
    const material = { device, network, train, normalisation, augmentation, batch: settings.batch };
    return { dataset: { name, data }, material, test, depth, weights, trained };
  };
  if (name === "cifar10") {
    const depth = settings.pretrained === "resnet20" ? 20 : 56;
    const file = depth === 20 ? "resnet20-12fca82f" : "resnet56-4bfd9763";
    return made(depth, (await readWeights(file)).weights, null);
  }
  const kept = await run.step(`${name}-network`, async () => {
    const network = trainableResnet(settings.depth, { shape: train.shape, classes: classNames.length });
    const recipe = settings.recipes[name];
    const given = { device, network, recipe, seed, train, test, normalisation, augmentation, name, run, progress };
    const { row, weights } = await trainNetwork(given);
    return { row, weights };
  });
  return made(settings.depth, trainedWeights(kept.weights), kept.row);
}
