import { InputError } from "@exitkit/core-gpu";
import type { Progress } from "../terminal/progress.ts";
import {
  type Dataset,
  type DatasetName,
  findDataset,
  openCifar10,
  openCifar100,
  openFashionMnist,
  openKmnist,
  openMnist,
} from "./directory.ts";

/** The data sets of the chosen data folder; read when asked for, once. */
export interface DataSource extends Readonly<Record<DatasetName, () => Promise<Dataset>>> {
  readonly directory: string | undefined;
}

/** The data sets in `directory`; CIFAR-10 falls back to the repository's subset, and a note says which one is used. */
export function openDataSource(directory: string | undefined, progress: Progress): DataSource {
  const opened = new Map<string, Promise<Dataset>>();
  const once = (name: string, open: () => Promise<Dataset>) => {
    const said = async () => {
      const dataset = await open();
      progress.note(`data: ${dataset.about}`);
      return dataset;
    };
    const dataset = opened.get(name) ?? said();
    opened.set(name, dataset);
    return dataset;
  };
  return {
    directory,
    cifar10: () => once("cifar10", () => openCifar10(directory)),
    cifar100: () => once("cifar100", () => openCifar100(directory)),
    fashionMnist: () => once("fashionMnist", () => openFashionMnist(directory)),
    mnist: () => once("mnist", () => openMnist(directory)),
    kmnist: () => once("kmnist", () => openKmnist(directory)),
  };
}

/** A data set where the data folder has it; else null, and a note says what is done without and why. */
export async function whereThere(
  name: string,
  open: () => Promise<Dataset>,
  progress: Progress,
): Promise<Dataset | null> {
  try {
    return await open();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    progress.note(`without ${name}: ${error.message}`);
    return null;
  }
}

/** Which editions of these data sets a run with this data folder uses, e.g. "CIFAR-10, CIFAR-100 subset". */
export async function editionsOf(reads: readonly DatasetName[], directory: string | undefined): Promise<string> {
  const found = await Promise.all(reads.map((name) => findDataset(name, directory)));
  return found.flatMap((one) => one?.edition.name ?? []).join(", ");
}
