import { InputError } from "@exitkit/core-gpu";
import type { Dataset } from "../../data/directory.ts";
import { type DatasetName, whereThere } from "../../data/source.ts";
import type { Context } from "../experiment.ts";

/** The data sets that the rivals are compared on, as `--datasets` names them, in the order of the report. */
const OPEN = {
  cifar10: "cifar10",
  cifar100: "cifar100",
  "fashion-mnist": "fashionMnist",
  kmnist: "kmnist",
  mnist: "mnist",
} as const satisfies Readonly<Record<string, DatasetName>>;

export type RivalDataset = keyof typeof OPEN;

const RIVAL_DATASETS = Object.keys(OPEN) as readonly RivalDataset[];

/** A data set of a run. */
export interface ChosenDataset {
  readonly name: RivalDataset;
  readonly data: Dataset;
}

/**
 * The data sets of a run: those that `--datasets` names, which must be there; else CIFAR-10 for the quick preset, and every
 * one that the data folder has for the full one. What is left out is said.
 *
 * @throws InputError on an unknown name, or a named data set that is not there.
 */
export async function chosenDatasets({ preset, extras, data, progress }: Context): Promise<readonly ChosenDataset[]> {
  const named = extras.datasets;
  const unknown = named?.find((name) => !Object.hasOwn(OPEN, name));
  if (unknown !== undefined) {
    const expectation = `--datasets must be some of ${RIVAL_DATASETS.join(", ")}`;
    throw new InputError("bench run", expectation, `"${unknown}"`);
  }
  const names = named ?? (preset === "quick" ? ["cifar10"] : RIVAL_DATASETS);
  const chosen: ChosenDataset[] = [];
  for (const name of RIVAL_DATASETS.filter((one) => names.includes(one))) {
    const open = data[OPEN[name]];
    const optional = named === undefined && data.directory !== undefined;
    const found = optional ? await whereThere(name, open, progress) : await open();
    if (found !== null) chosen.push({ name, data: found });
  }
  return chosen;
}
