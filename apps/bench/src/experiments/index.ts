import { cascades } from "./cascades/index.ts";
import { cbt } from "./cbt/index.ts";
import { e2cmCifar10 } from "./e2cm-cifar10/index.ts";
import { e2cmClustering } from "./e2cm-clustering/index.ts";
import { e2cmRivals } from "./e2cm-rivals/index.ts";
import { eeprune } from "./eeprune/index.ts";
import type { Experiment } from "./experiment.ts";
import { llmExitInit } from "./llm-exit-init/index.ts";
import { openWorld } from "./open-world/index.ts";
import { pruneEe } from "./prune-ee/index.ts";
import { stagedOverhead } from "./staged-overhead/index.ts";
import { trainCifar10 } from "./train-cifar10/index.ts";
import { trainStep } from "./train-step/index.ts";

/** All experiments, in the order of `bench list`. Add one by importing it and naming it here. */
export const EXPERIMENTS: readonly Experiment[] = [
  cascades,
  cbt,
  e2cmCifar10,
  e2cmClustering,
  e2cmRivals,
  llmExitInit,
  eeprune,
  openWorld,
  pruneEe,
  stagedOverhead,
  trainCifar10,
  trainStep,
];
