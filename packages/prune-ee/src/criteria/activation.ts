import {
  applyOperator,
  gradients,
  InputError,
  layers,
  ops,
  parseOptions,
  type Spec,
  type TreeRecord,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import type { ExitParameters } from "@exitkit/early-exit";
import { z } from "zod";
import type { Criterion, ScoringContext } from "./criterion.ts";
import {
  batchSpecs,
  type ScoringBatches,
  scoredWeights,
  scoresFrom,
  scoringBatches,
  sumOverBatches,
} from "./sum-over-batches.ts";

/** Options of {@link activation}. */
export interface ActivationOptions extends ScoringBatches {}

const caller = "prune-ee.criteria.activation";
const schema = z.strictObject(scoringBatches);

/** Operators that are linear in each of their first two operands. */
const products = ["conv", "convTranspose", "linear", "matmul"];

/**
 * |w| · ‖x‖₂, x what the weight is multiplied with: the norm over all samples drawn and, in convolutions and layers of tokens, all
 * places. Small weights on large inputs stay. Batch norms use their running statistics. Costs about two forward passes a batch; no labels.
 *
 * Norms differ from layer to layer, so `budget: "perLayer"` is the nearer to the source.
 *
 * Source: M. Sun et al., "A Simple and Effective Pruning Approach for Large Language Models" (Wanda), 2023 [D], section 3.
 * Differs: ranked over the network or the layer, as the budget says, where Wanda compares the inputs of each output; convolutions
 * take the norm of each place of their window by itself.
 * @throws InputError on an option that is unknown or out of range, fewer samples than a batch, or a weight that no convolution or
 * matrix product reads.
 */
export function activation(options?: ActivationOptions): Criterion {
  const plan = parseOptions(caller, schema, options);
  return {
    name: `activation ${plan.batches} × ${plan.batchSize}`,
    score: (context) => activationScores(context, plan),
  };
}

async function activationScores(context: ScoringContext, plan: Required<ScoringBatches>) {
  const { network, params } = context;
  const program = trace(
    (given) => {
      const values = given.params as ExitParameters<Value>;
      const { logits } = network.apply(values, given.x, { trains: "nothing" });
      const wanted = scoredWeights(context, values);
      return { scores: sumsOfSquares(logits, wanted) };
    },
    { params: layers.specsOf<TreeRecord<Spec>>(params), ...batchSpecs(context, plan.batchSize) },
  );
  const { sums } = await sumOverBatches(caller, context, plan, program, { constants: { params } });
  return scoresFrom(context, (path, at, weight) => Math.abs(weight) * Math.sqrt(sums.get(path)![at]!));
}

/**
 * For each weight the sum of the squares of what each element is multiplied with. A product's gradient with respect to its weight is
 * the sum of what it is multiplied with; of the product with squared inputs it is the sum of the squares.
 */
function sumsOfSquares(outputs: readonly Value[], weights: Readonly<Record<string, Value>>): Record<string, Value> {
  const paths = new Map(Object.entries(weights).map(([path, weight]) => [weight, path]));
  const terms = new Map<string, Value>();
  const seen = new Set<Value>();
  const pending = [...outputs];
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    if (seen.has(value)) continue;
    seen.add(value);
    const { producer } = value;
    if (producer.kind !== "result") continue;
    const { operator, operands, attributes } = producer.application;
    pending.push(...operands);
    if (!products.includes(operator.name)) continue;
    const at = operands.slice(0, 2).findIndex((operand) => paths.has(rearranged(operand)));
    if (at < 0) continue;
    const path = paths.get(rearranged(operands[at]!))!;
    const factors = operands.slice(0, 2).map((operand, index) => (index === at ? operand : ops.square(operand)));
    const [product] = applyOperator(operator, factors, attributes);
    const before = terms.get(path);
    const sum = ops.sum(product!);
    terms.set(path, before === undefined ? sum : ops.add(before, sum));
  }
  const missing = Object.keys(weights).find((path) => !terms.has(path));
  if (missing !== undefined) {
    const fix = "Score by another criterion.";
    throw new InputError(caller, `a convolution or matrix product must read "${missing}"`, "none that is known", fix);
  }
  return Object.fromEntries([...terms].map(([path, sum]) => [path, gradients(sum, weights[path]!)]));
}

/** The value that another is a transposed or reshaped form of. */
function rearranged(value: Value): Value {
  const { producer } = value;
  if (producer.kind !== "result") return value;
  const { operator, operands } = producer.application;
  return ["transpose", "reshape", "identity"].includes(operator.name) ? rearranged(operands[0]!) : value;
}
