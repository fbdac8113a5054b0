import type { Scope } from "../masks/weights.ts";

/**
 * In which order backbone and exits are pruned: `together`, all weights in one list and all fine-tuned; `sequential`, first the
 * backbone without its exits, then the exits on the frozen backbone; `exitsFirst`, first the exits on the frozen dense backbone, then
 * the backbone with its exits attached, which are fine-tuned with it and lose no more weights.
 *
 * Source: `together` and `sequential` are the paper's approaches 1 and 2 [S]; `exitsFirst` is nobody's.
 */
export type Order = "together" | "sequential" | "exitsFirst";

/** A run of rounds in which the same weights are pruned and the same are trained. */
export interface Phase {
  /** What is pruned, in one list. */
  readonly scope: Scope;
  /** What fine-tuning changes. */
  readonly trains: "exits" | "all";
  /** Whether early exits count in the loss. Without them they are as they were when the phase ends. */
  readonly withExits: boolean;
}

/**
 * The phases of an order.
 *
 * Differs: in the second phase of `sequential` the paper's pool of linear layers holds the network's own last layer too [D]; here that
 * is the backbone's, pruned with it in the first phase and frozen in the second, so that the backbone stays what it was.
 */
export function phasesOf(order: Order): readonly Phase[] {
  const backboneAlone: Phase = { scope: "backbone", trains: "all", withExits: false };
  const exitsAlone: Phase = { scope: "exits", trains: "exits", withExits: true };
  switch (order) {
    case "together":
      return [{ scope: "all", trains: "all", withExits: true }];
    case "sequential":
      return [backboneAlone, exitsAlone];
    case "exitsFirst":
      return [exitsAlone, { scope: "backbone", trains: "all", withExits: true }];
  }
}
