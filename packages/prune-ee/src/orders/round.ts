import type { ExitEpoch } from "@exitkit/early-exit";
import type { LayerSparsity } from "../masks/masks.ts";
import type { Scope } from "../masks/weights.ts";

/** What is known of a finished round: pruned, then fine-tuned. Plain data. */
export interface PruningRound {
  /** From 0; the rounds of the first phase come first. */
  readonly round: number;
  /** What was pruned in this phase. */
  readonly scope: Scope;
  /** Zeros ÷ elements of all weights that can be pruned, in the backbone and the exits. */
  readonly sparsity: number;
  /** Zeros of every weight pruned so far. */
  readonly layers: readonly LayerSparsity[];
  /** Of the fine-tuning. */
  readonly history: readonly ExitEpoch[];
  /** What `evaluate` gave; empty without it. */
  readonly evaluation: Readonly<Record<string, number>>;
  /** What a person should know of: layers that were kept from losing everything. */
  readonly notes: readonly string[];
}
