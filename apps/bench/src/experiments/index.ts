import type { Experiment } from "./experiment.ts";
import * as rooms from "./rooms.ts";

/** All experiments, in the order of `bench list`: by their names. */
export const EXPERIMENTS: readonly Experiment[] = Object.values(rooms);
