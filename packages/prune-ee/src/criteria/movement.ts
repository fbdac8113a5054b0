import {
  layers,
  ops,
  parseOptions,
  type Spec,
  type Tensor,
  type TreeRecord,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import type { ExitParameters } from "@exitkit/early-exit";
import { z } from "zod";
import type { Criterion, ScoringContext } from "./criterion.ts";
import {
  batchSpecs,
  lossSlopes,
  type ScoringBatches,
  scoresFrom,
  scoringBatches,
  sumOverBatches,
} from "./sum-over-batches.ts";

/** Options of {@link movement}. */
export interface MovementOptions extends ScoringBatches {
  /** Of the trial's steps, > 0. Default 0.01. */
  readonly learningRate?: number;
}

const caller = "prune-ee.criteria.movement";
const schema = z.strictObject({ ...scoringBatches, learningRate: z.number().positive().default(0.01) });

/**
 * −Σₜ wₜ · ∂L/∂wₜ over a short trial of plain gradient steps wₜ₊₁ = wₜ − rate · ∂L/∂wₜ, one a batch, L the exits' joint loss: weights that
 * training moves away from 0 stay, those that it moves towards 0 go. The trial is thrown away. Pruned weights do not move. Costs
 * about three forward passes a batch, and the weights once more.
 *
 * Source: V. Sanh, T. Wolf, A. M. Rush, "Movement Pruning: Adaptive Sparsity by Fine-Tuning", 2020 [D], section 4.
 * Differs: sums over a trial before each pruning, not over all of fine-tuning, so that it is a criterion like any other; only the
 * weights that are scored move.
 * @throws InputError on an option that is unknown or out of range, or fewer samples than a batch.
 */
export function movement(options?: MovementOptions): Criterion {
  const plan = parseOptions(caller, schema, options);
  const name = `movement ${plan.batches} × ${plan.batchSize} at ${plan.learningRate}`;
  return { name, score: (context) => movementScores(context, plan) };
}

async function movementScores(context: ScoringContext, plan: Required<MovementOptions>) {
  const { params, weights } = context;
  const moving = Object.fromEntries(weights) as Record<string, Tensor>;
  const program = trace(
    (given) => {
      const values = layers.mergeParameters(given.params, given.moving) as ExitParameters<Value>;
      const scores: Record<string, Value> = {};
      const next: Record<string, Value> = {};
      for (const [path, weight, slope] of lossSlopes(context, values, given)) {
        scores[path] = ops.neg(ops.mul(weight, slope));
        const stepped = ops.sub(weight, ops.mul(slope, plan.learningRate));
        next[path] = ops.where(ops.equal(weight, 0), weight, stepped);
      }
      return { scores, moving: next };
    },
    {
      params: layers.specsOf<TreeRecord<Spec>>(params),
      moving: layers.specsOf<TreeRecord<Spec>>(moving),
      ...batchSpecs(context, plan.batchSize),
    },
  );
  const { sums } = await sumOverBatches(caller, context, plan, program, {
    constants: { params },
    state: ["moving"],
    initial: { moving },
  });
  return scoresFrom(context, (path, at) => sums.get(path)![at]!);
}
