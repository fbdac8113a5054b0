import { type DeviceKind, InputError } from "@exitkit/core-gpu";
import {
  type Dataset,
  type DatasetName,
  findDataset,
  openCifar10,
  openCifar100,
  openFashionMnist,
  openKmnist,
  openMnist,
} from "../data/directory.ts";
import type { RunFolder } from "../runs/run.ts";
import type { Progress } from "../terminal/progress.ts";

/** `quick`: minutes, smaller data and fewer repetitions. `full`: what is quoted. */
export type Preset = "quick" | "full";

/** Options of `bench run` that only some experiments understand; those not given are missing. */
export interface Extras {
  /** How many seeds, `seed` the first. */
  readonly seeds?: number;
  /** Only that many of the training pictures, the first ones. */
  readonly pictures?: number;
  /** Instead of the preset's. */
  readonly epochs?: number;
  /** Only these data sets, by the names the experiment gives them. */
  readonly datasets?: readonly string[];
}

/** Something `bench run` can run. */
export interface Experiment {
  readonly name: string;
  readonly title: string;
  /** A sentence or two for `bench list`. */
  readonly about: string;
  /** Whether `bench run` writes a report of its result. Default true. */
  readonly reported?: boolean;
  /** Which of the extra options of `bench run` it understands. Default none. */
  readonly takes?: readonly (keyof Extras)[];
  /** The data sets it reads where they are there; their editions are part of a run's config. Default CIFAR-10. */
  readonly reads?: readonly DatasetName[];
  run(context: Context): Promise<ExperimentResult>;
}

/** What an experiment is given. */
export interface Context {
  readonly preset: Preset;
  readonly seed: number;
  readonly device: DeviceKind | "auto";
  readonly extras: Extras;
  readonly data: DataSource;
  readonly run: RunFolder;
  readonly progress: Progress;
}

/** Plain data for result.json; the runner adds experiment, preset, seed, device, config and environment. */
export interface ExperimentResult {
  /** Lines and tables for the terminal, printed when the run is done. */
  readonly summary: Summary;
  /** Everything else, merged into result.json. */
  readonly values: Readonly<Record<string, unknown>>;
}

/** What the terminal shows at the end. */
interface Summary {
  readonly head: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
  readonly notes?: readonly string[];
}

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

/** Which editions a run of an experiment with this data folder uses, e.g. "CIFAR-10, CIFAR-100 subset"; part of the run's config. */
export async function editionsOf({ reads = ["cifar10"] }: Experiment, directory: string | undefined): Promise<string> {
  const found = await Promise.all(reads.map((name) => findDataset(name, directory)));
  return found.flatMap((one) => one?.edition.name ?? []).join(", ");
}
