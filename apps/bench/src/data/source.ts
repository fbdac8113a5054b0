import { InputError } from "@exitkit/core-gpu";
import type { Progress } from "../terminal/progress.ts";
import { type Dataset, findDataset, openDataset, type PictureSet } from "./directory.ts";
import * as ALL from "./sets/index.ts";

/** The data sets that can be read. */
export type DatasetName = keyof typeof ALL;

/** What is said of each. */
export const SETS: Readonly<Record<DatasetName, PictureSet>> = { ...ALL };

/** The data sets of the chosen data folder; read when asked for, once. */
export interface DataSource extends Readonly<Record<DatasetName, () => Promise<Dataset>>> {
  readonly directory: string | undefined;
}

/** The data sets in `directory`; a note says which edition of one is used. */
export function openDataSource(directory: string | undefined, progress: Progress): DataSource {
  const opened = new Map<string, Promise<Dataset>>();
  const opener = (name: DatasetName) => () => {
    const open = async () => {
      const dataset = await openDataset(SETS[name], directory);
      progress.note(`data: ${dataset.about}`);
      return dataset;
    };
    if (!opened.has(name)) opened.set(name, open());
    return opened.get(name)!;
  };
  const names = Object.keys(SETS) as DatasetName[];
  const each = Object.fromEntries(names.map((name) => [name, opener(name)])) as Omit<DataSource, "directory">;
  return { directory, ...each };
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
  // A part of a data set's files is none: what is missing is said when it is read.
  const found = await Promise.all(reads.map((name) => findDataset(SETS[name], directory).catch(noneOfIt)));
  return found.flatMap((one) => one?.edition.name ?? []).join(", ");
}

function noneOfIt(error: unknown): null {
  if (error instanceof InputError) return null;
  throw error;
}
