import { type Device, type Generator, InputError, type Tensor, type training } from "@exitkit/core-gpu";
import type { ExitNetwork, ExitParameters } from "@exitkit/early-exit";
import type { Scores } from "../masks/next-masks.ts";

/** What a criterion may look at. */
export interface ScoringContext {
  readonly device: Device;
  readonly network: ExitNetwork;
  /** Pruned weights are 0. */
  readonly params: ExitParameters;
  /** The weights to score, by path in {@link ExitParameters}. */
  readonly weights: ReadonlyMap<string, Tensor<"float32">>;
  /** What the fine-tuning that follows changes: the heads alone, or everything. */
  readonly trains: "exits" | "all";
  /** Samples `x` and labels `y`, as for training. */
  readonly data: training.Dataset;
  /** `[e]`: weight of each exit's loss, the last exit's last. */
  readonly lossWeights: readonly number[];
  /** Seeded; of this round alone. */
  readonly random: Generator;
}

/** How much each weight matters. */
export interface Criterion {
  /** What it is, for people and files: "magnitude". */
  readonly name: string;
  /** One score an element, higher stays longer. */
  score(context: ScoringContext): Scores | Promise<Scores>;
}

/** @throws InputError on what is no criterion. */
export function checkCriterion(caller: string, criterion: Criterion): void {
  if (typeof criterion?.score === "function" && typeof criterion.name === "string") return;
  throw new InputError(
    caller,
    "criterion must be { name, score }",
    typeof criterion,
    "Pass e.g. criteria.magnitude().",
  );
}
