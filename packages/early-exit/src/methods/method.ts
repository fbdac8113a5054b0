import type { ToExitModelOptions } from "../training/to-exit-model.ts";
import type { TrainExitsOptions } from "../training/train-exits.ts";

/** A published way to train exits and to leave by them, as options: spread them and change what you like. */
export interface ExitMethod {
  /** For `trainExits`. */
  readonly training: Required<Pick<TrainExitsOptions, "trains" | "lossWeights" | "optimiser" | "learningRate">>;
  /** For `toExitModel`. */
  readonly rule: Required<ToExitModelOptions>;
}
