import type { ExitCosts, ExitRecord, Gates, OperatingPoint } from "@exitkit/early-exit";
import type { Opened } from "../../measuring/wall.ts";
import type { ClassMeansMethod } from "./class-means.ts";
import type { TrainedMethod } from "./trained.ts";

/** All methods that are compared. */
export type Method = ClassMeansMethod | TrainedMethod | "bwds";

/** One forward pass or one epoch of training; or several epochs. */
export type Budget = "one epoch" | "unlimited";

/** What names one fit of a method; no seed where nothing is random. */
interface Fit<Seed = number | null> {
  readonly method: Method;
  readonly budget: Budget;
  readonly seed: Seed;
}

/** A fitted method and what its exits said about the test pictures. */
export interface Candidate extends Fit {
  readonly epochs: number;
  /** Of fitting, those trained in the same passes included; null where an interrupted run does not know. */
  readonly seconds: number | null;
  readonly costs: ExitCosts;
  /** All test pictures, in their order. */
  readonly record: ExitRecord;
  /** The same with the network's own last exit answering last: what the exits are asked to agree with. */
  readonly own: ExitRecord;
  /** Gates learned on the first and on the second half of the test pictures, for several trade-offs; of `bwds` only. */
  readonly gates?: readonly [readonly Gates[], readonly Gates[]];
  /** The network to run, with one of its settings. */
  readonly open: (setting: Setting) => Promise<Opened>;
}

/** A training whose loss became NaN or infinite in a step, from 0: it gave no exits. */
export interface Divergence extends Fit<number> {
  readonly epochs: number;
  readonly step: number;
}

/** A setting of a method that was chosen on calibration pictures: thresholds, and the gates they are thresholds of. */
export interface Setting extends OperatingPoint {
  readonly gates?: Gates;
}
