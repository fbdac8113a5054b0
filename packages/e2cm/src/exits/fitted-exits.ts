import type { ArgumentKind } from "@exitkit/core-gpu";
import type { ExitCosts, Guarded, OperatingPoint } from "@exitkit/early-exit";
import type { DistanceRule } from "../decisions/distances.ts";
import type { Rejection } from "../decisions/rejection.ts";
import type { ScoresFrom } from "../network/network.ts";
import type { FittedExit, OutputExit } from "./exits.ts";

/** Exits fitted on a network: plain data, enough to run, save and load them. */
export interface FittedExits {
  /** sha256 of what the model they belong to computes; of the whole file for exits saved by older versions. */
  readonly modelHash: string;
  /** Which of its outputs scores are read from and what that holds; null for exits saved before that was looked at. */
  readonly scoresFrom: ScoresFrom | null;
  /** k: number of classes. */
  readonly classes: number;
  /** How distances become a confidence; Euclidean exits only. */
  readonly rule: DistanceRule;
  /** Which distances the nearest mean is answered by; Euclidean exits only. */
  readonly predictFrom: "raw" | "normalised";
  /** How the last exit answers: by the network's own `head`, or by the `nearestMean` of its outputs. */
  readonly last: "head" | "nearestMean";
  /** Class means of the network's own outputs, for answering by them and for novelty; null where they were not fitted. */
  readonly output: OutputExit | null;
  /** In the order the network meets them, without the full network. */
  readonly exits: readonly FittedExit[];
  /** Training samples of every class that the means were fitted on, [k]; null for exits saved before they were kept. */
  readonly counts: readonly number[] | null;
  /** How samples of no known class are turned away; null: every sample is given a class. */
  readonly rejection: Rejection | null;
  /** MACs a sample costs that leaves at each of the e exits, the full network included. */
  readonly costs: ExitCosts;
  /**
   * From the cheapest to the most accurate on the calibration samples, which chose them: what is aimed at, not guaranteed. Empty before
   * calibration.
   */
  readonly operatingPoints: readonly OperatingPoint[];
  /**
   * Operating points whose accuracy loss on new samples is bounded, each on calibration samples that did not choose it; see
   * `guardedPoints` of `@exitkit/early-exit`. Null before calibration, and where samples are rejected: all calibration samples then
   * say which.
   */
  readonly guarded: Guarded | null;
  /** What the operating points were chosen on; null before calibration. */
  readonly calibration: Calibration | null;
}

/** What the operating points were chosen on. */
export interface Calibration {
  readonly samples: number;
  /** The full network's accuracy on them, in [0, 1]; where samples are rejected, rejected ones count as wrong. */
  readonly fullAccuracy: number;
  /** True when they were held out of the training stream: a network looks surer of samples it was trained on than of new ones. */
  readonly heldOut: boolean;
  /** What is worth knowing, in sentences: exits that were left out, an exit that is better than the network. Usually empty. */
  readonly notes: readonly string[];
}

/** What an argument must be that holds fitted exits. */
export const FITTED: ArgumentKind = {
  classes: "a number",
  exits: "a list",
  predictFrom: "a string",
  modelHash: "a string",
};

/** Scores that the network itself gives: the k classes', unless classes were added. */
export function outputsOf({ classes, output }: Pick<FittedExits, "classes" | "output">): number {
  if (output === null) return classes;
  const { length } = output.metric === "euclidean" ? output.means : output.weights;
  return length / (output.metric === "euclidean" ? output.distances : output.bias).length;
}
