import type { ToExitModelOptions } from "./toExitModel.ts";
import type { TrainExitsOptions } from "./trainExits.ts";

/** A published way to train exits and to leave by them, as options: spread them and change what you like. */
export interface ExitMethod {
  /** For `trainExits`. */
  readonly training: Required<Pick<TrainExitsOptions, "trains" | "lossWeights" | "optimiser" | "learningRate">>;
  /** For `toExitModel`. */
  readonly exits: Required<ToExitModelOptions>;
}
