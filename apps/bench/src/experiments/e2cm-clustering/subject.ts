import type { Device } from "@exitkit/core-gpu";
import type { Pictures } from "../../data/pictures.ts";
import type { RunFolder } from "../../runs/run.ts";
import type { Progress } from "../../terminal/progress.ts";
import type { Recipe } from "./recipe.ts";

/** One run on one data set: what its parts share. */
export interface Subject {
  /** For progress and keys of steps, "fashion-mnist-run1". */
  readonly name: string;
  readonly seed: number;
  readonly device: Device;
  readonly recipe: Recipe;
  /** Clustered. Their classes judge the result and name the clusters, nothing else. */
  readonly train: Pictures;
  /** Calibration and report. */
  readonly test: Pictures;
  readonly run: RunFolder;
  readonly progress: Progress;
}
