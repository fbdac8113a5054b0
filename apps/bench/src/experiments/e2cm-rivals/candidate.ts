import type { ExitCosts, ExitRecord, Gates, OperatingPoint } from "@exitkit/early-exit";
import type { Opened } from "../../measuring/wall.ts";
import type { ClassMeansMethod } from "./class-means.ts";
import type { TrainedMethod } from "./trained.ts";

/** All methods that are compared. */
export type Method = ClassMeansMethod | TrainedMethod | "bwds";

/** One forward pass or one epoch of training; or several epochs. */
export type Budget = "one epoch" | "unlimited";

/** A fitted method and what its exits said about the test pictures. */
export interface Candidate {
  readonly method: Method;
  readonly budget: Budget;
  /** Null where nothing is random. */
  readonly seed: number | null;
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

/** A training whose loss became NaN or infinite: it gave no exits. */
export interface Divergence {
  readonly method: Method;
  readonly budget: Budget;
  readonly seed: number;
  readonly epochs: number;
  /** Of its steps, from 0. */
  readonly step: number;
}

/** A setting of a method that was chosen on calibration pictures: thresholds, and the gates they are thresholds of. */
export interface Setting extends OperatingPoint {
  readonly gates?: Gates;
}
