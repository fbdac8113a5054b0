import type { ExitCosts, OperatingPoint } from "@exitkit/early-exit";
import type { ClassMeans } from "./classMeans.ts";
import type { DistanceRule } from "./distances.ts";
import type { FittedExit } from "./exits.ts";

/** Exits fitted on a network: plain data, enough to run, save and load them. */
export interface FittedExits {
  /** sha256 of the model they belong to. */
  readonly modelHash: string;
  /** k: number of classes. */
  readonly classes: number;
  /** How distances become a confidence; Euclidean exits only. */
  readonly rule: DistanceRule;
  /** Which distances the nearest mean is answered by; Euclidean exits only. */
  readonly predictFrom: "raw" | "normalised";
  /** Class means of the network's own outputs when the last exit answers by them; null: it answers by its head. */
  readonly lastMeans: ClassMeans | null;
  /** In the order the network meets them, without the full network. */
  readonly exits: readonly FittedExit[];
  /** MACs a picture costs that leaves at each of the e exits, the full network included. */
  readonly costs: ExitCosts;
  /** From the cheapest to the most accurate on the calibration pictures; empty before calibration. */
  readonly operatingPoints: readonly OperatingPoint[];
  /** What the operating points were chosen on; null before calibration. */
  readonly calibration: Calibration | null;
}

/** What the operating points were chosen on. */
export interface Calibration {
  readonly pictures: number;
  /** The full network's accuracy on them, in [0, 1]. */
  readonly fullAccuracy: number;
  /** True when they were held out of the training stream: a network looks surer of pictures it was trained on than of new ones. */
  readonly heldOut: boolean;
}
