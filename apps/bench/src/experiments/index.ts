import { InputError } from "@exitkit/core-gpu";
import { e2cmCifar10 } from "./e2cm-cifar10.ts";
import { e2cmClustering } from "./e2cm-clustering/index.ts";
import { e2cmRivals } from "./e2cm-rivals.ts";
import type { Experiment } from "./experiment.ts";
import { llmExitInit } from "./llm-exit-init/index.ts";
import { openWorld } from "./open-world/index.ts";
import { pruneEe } from "./prune-ee/index.ts";
import { stagedOverhead } from "./staged-overhead/index.ts";
import { trainCifar10 } from "./train-cifar10/index.ts";
import { trainStep } from "./train-step/index.ts";

/** All experiments, in the order of `bench list`. Add one by importing it and naming it here. */
export const EXPERIMENTS: readonly Experiment[] = [
  e2cmCifar10,
  e2cmClustering,
  e2cmRivals,
  llmExitInit,
  openWorld,
  pruneEe,
  stagedOverhead,
  trainCifar10,
  trainStep,
];

/**
 * The experiment of that name.
 *
 * @throws InputError naming the known ones.
 */
export function experimentNamed(name: string, experiments: readonly Experiment[] = EXPERIMENTS): Experiment {
  const found = experiments.find((experiment) => experiment.name === name);
  if (found !== undefined) return found;
  throw new InputError(
    "bench run",
    `the experiment must be one of ${experiments.map((experiment) => experiment.name).join(", ")}`,
    `"${name}"`,
    "See: bench list",
  );
}
