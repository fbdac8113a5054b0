import { type Device, optimisers, type training } from "@exitkit/core-gpu";
import type { Pictures } from "../../data/pictures.ts";
import type { Settings } from "./settings.ts";

/** What the parts of the experiment work with. */
export interface Material {
  readonly device: Device;
  readonly settings: Settings;
  readonly train: training.Dataset;
  readonly test: Pictures;
}

/** How networks are fine-tuned after weights or channels went; the paper does not say [?]. */
export const FINE_TUNING = {
  batchSize: 64,
  optimiser: optimisers.sgd({ momentum: 0.9, weightDecay: 1e-4 }),
  learningRate: 0.01,
};
