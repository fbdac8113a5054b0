import { layers, ops, parseOptions, type Spec, type TreeRecord, trace, type Value } from "@exitkit/core-gpu";
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

/** Options of {@link taylor}. */
export interface TaylorOptions extends ScoringBatches {}

const caller = "prune-ee.criteria.taylor";
const schema = z.strictObject(scoringBatches);

/**
 * Mean over batches of |w · ∂L/∂w|, L the exits' joint loss with the weights that they are fine-tuned with: to first order, how
 * much the loss changes when the weight goes. Batch norms work as in the fine-tuning that follows. Costs about three forward passes a batch.
 *
 * Source: P. Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", 2017 [D], for single
 * weights; the joint loss of all exits is ours.
 * @throws InputError on an option that is unknown or out of range, or fewer samples than a batch.
 */
export function taylor(options?: TaylorOptions): Criterion {
  const plan = parseOptions(caller, schema, options);
  return { name: `taylor ${plan.batches} × ${plan.batchSize}`, score: (context) => taylorScores(context, plan) };
}

async function taylorScores(context: ScoringContext, plan: Required<ScoringBatches>) {
  const { params } = context;
  const program = trace(
    (given) => {
      const found = lossSlopes(context, given.params as ExitParameters<Value>, given);
      const scores = found.map(([path, weight, slope]) => [path, ops.abs(ops.mul(weight, slope))]);
      return { scores: Object.fromEntries(scores) as Record<string, Value> };
    },
    { params: layers.specsOf<TreeRecord<Spec>>(params), ...batchSpecs(context, plan.batchSize) },
  );
  const { sums, count } = await sumOverBatches(caller, context, plan, program, { constants: { params } });
  return scoresFrom(context, (path, at) => sums.get(path)![at]! / count);
}
