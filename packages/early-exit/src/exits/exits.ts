import type { ArgumentKind, Model } from "@exitkit/core-gpu";

/** One exit of a network: where it reads, and the tensors in the graph that say what it answers and how sure it is. */
export interface Exit {
  /** Name for people, unique among the exits. */
  readonly name: string;
  /** The backbone tensor the exit reads; the backbone is cut behind it. */
  readonly tap: string;
  /**
   * Tensor float32 `[n]`, in [0, 1]: higher is surer; `[n, h, w]` or `[n, t]` where pixels or tokens are answered, which can be
   * recorded, but not yet be run in stages. Others are refused where they are seen, by `classify` and `recordExits`; an
   * exported file compares whatever it computes.
   */
  readonly confidence: string;
  /** Tensor int64 of the same shape: the class answered. */
  readonly prediction: string;
  /** Tensor float32 `[n, k]`: what the two follow from, where a caller wants to name it; it is not used to run. */
  readonly scores?: string;
}

/** A network whose graph holds the tensors of all its exits. Plain data. */
export interface ExitModel {
  readonly model: Model;
  /** Name of the model's only input; its first dimension is the batch. */
  readonly input: string;
  /** e exits in order; the last is the full network's own head. */
  readonly exits: readonly Exit[];
}

/** What an argument must be that holds a network with exits. */
export const EXIT_MODEL: ArgumentKind = { model: "a model", input: "a string", exits: "a list" };
