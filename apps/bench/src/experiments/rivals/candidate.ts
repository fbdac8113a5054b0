import type { Tensor } from "@exitkit/core-gpu";
import type { ExitCosts, ExitRecord } from "@exitkit/early-exit";
import type { ClassMeansMethod } from "./class-means.ts";
import type { TrainedMethod } from "./trained.ts";

/** All methods that are compared. */
export type Method = ClassMeansMethod | TrainedMethod;

/** One forward pass or one epoch of training; or several epochs. */
export type Budget = "one epoch" | "unlimited";

/** A fitted method and what its exits said about the test pictures. */
export interface Candidate {
  readonly method: Method;
  readonly budget: Budget;
  /** Null where nothing is random. */
  readonly seed: number | null;
  readonly epochs: number;
  /** Of fitting; null where an interrupted run does not know. */
  readonly seconds: number | null;
  readonly costs: ExitCosts;
  /** All test pictures, in their order. */
  readonly record: ExitRecord;
  /** The network to run, with some thresholds. */
  readonly open: (thresholds: readonly number[]) => Promise<Opened>;
}

/** A network with exits that really stops early. */
interface Opened {
  classify(x: Tensor<"float32">): Promise<{ readonly predictions: Int32Array; readonly exits: Int32Array }>;
  release(): Promise<void>;
}
