/** All experiments, a folder and a line each. Add one by naming it here. */
export { cascades } from "./cascades/index.ts";
export { cbt } from "./cbt/index.ts";
export { e2cmCifar10 } from "./e2cm-cifar10/index.ts";
export { e2cmClustering } from "./e2cm-clustering/index.ts";
export { e2cmRivals } from "./e2cm-rivals/index.ts";
export { eeprune } from "./eeprune/index.ts";
export { llmExitInit } from "./llm-exit-init/index.ts";
export { openWorld } from "./open-world/index.ts";
export { pruneEe } from "./prune-ee/index.ts";
export { stagedOverhead } from "./staged-overhead/index.ts";
export { trainCamvid } from "./train-camvid/index.ts";
export { trainCifar10 } from "./train-cifar10/index.ts";
export { trainStep } from "./train-step/index.ts";
