import { checkArguments, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { costShares, type ExitCosts } from "../costs/cost.ts";
import { checkLossWeights } from "./check-loss-weights.ts";

/** Where a training run stands. */
export interface TrainingMoment {
  /** The epoch under way, from 0. */
  readonly epoch: number;
  /** Epochs of the whole run. */
  readonly epochs: number;
  /** Share of the run's steps that are done, 0 to 1. */
  readonly progress: number;
}

/** The weight of each exit's loss, `[e]`, the last exit's last, at a moment of the run. */
export type LossWeights = (moment: TrainingMoment) => readonly number[];

/** The same weights always. @param weights `[e]`, finite and ≥ 0. @throws InputError on others. */
export function constant(weights: readonly number[]): LossWeights {
  checkArguments("early-exit.lossWeights.constant", { weights: [weights, "a list"] });
  checkLossWeights("early-exit.lossWeights.constant", weights, weights.length);
  const held = [...weights];
  return () => held;
}

/**
 * Each early exit by its share of the cost of the plain network, the last exit by 1.
 *
 * Source: BranchyNet as trained by the E²CM authors' script, which weights exits by their relative FLOPs [S].
 * Differs: shares in MACs, exits' overheads included; never above 1.
 */
export function relativeCost(costs: ExitCosts): LossWeights {
  checkArguments("early-exit.lossWeights.relativeCost", { costs: [costs, { exits: "a list", full: "a number" }] });
  return constant([...costShares(costs), 1]);
}

/** Options of {@link ramp}. */
export interface RampOptions {
  /** `[e − 1]`: Cᵢ, where each early exit's weight ends. */
  readonly targets: readonly number[];
  /** What all begin from. Default 0.01. */
  readonly start?: number;
  /** Epochs until the targets are reached. Default: those of the run. */
  readonly epochs?: number;
}

const rampSchema = z.strictObject({
  targets: z.array(z.number().min(0)).min(1),
  start: z.number().min(0).default(0.01),
  epochs: z.int().min(1).optional(),
});

/**
 * Weights that grow step by step: `min(Cᵢ, start + Cᵢ·t ÷ T)` after t of T epochs, parts of an epoch included; the last exit's
 * is 1.
 *
 * Source: Shallow-Deep Networks' joint training, C = .15, .3, .45, .6, .75, .9 [S: the authors' code]. With
 * `{ targets: shares of the cost, start: 0, epochs: 50 }` the E²CM authors' script for the same networks,
 * flopsᵢ·min(t, 50) ÷ 50 [S; whether its t counts from 0 or 1: ?].
 * Differs: there the weights change once an epoch, and the first epoch already has `start + Cᵢ ÷ T`. That is next to `start` in 100
 * epochs, but all of Cᵢ where there is only one.
 * @throws InputError on an option that is unknown or out of range.
 * @example
 * ```ts
 * import { lossWeights } from "@exitkit/early-exit";
 * const weights = lossWeights.ramp({ targets: [0.5, 1], start: 0 });
 * console.assert(weights({ epoch: 1, epochs: 4, progress: 0.25 }).join() === "0.125,0.25,1");
 * ```
 */
export function ramp(options: RampOptions): LossWeights {
  const { targets, start, epochs } = parseOptions("early-exit.lossWeights.ramp", rampSchema, options);
  return (moment) => {
    const grown = (moment.progress * moment.epochs) / (epochs ?? moment.epochs);
    return [...targets.map((target) => Math.min(target, start + target * grown)), 1];
  };
}
