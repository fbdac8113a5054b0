import {
  gradients,
  InputError,
  layers,
  ops,
  parseOptions,
  type Spec,
  spec,
  type Tensor,
  type TreeRecord,
  tensor,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import { type ExitParameters, exitsLoss } from "@exitkit/early-exit";
import { z } from "zod";
import type { Criterion, ScoringContext } from "./criterion.ts";

/** Options of {@link taylor}. */
export interface TaylorOptions {
  /** Samples of a batch. Default 128. */
  readonly batchSize?: number;
  /** Batches, drawn at random without repeats. Default 8, or as many as the data has. */
  readonly batches?: number;
}

const schema = z.strictObject({ batchSize: z.int().min(1).default(128), batches: z.int().min(1).default(8) });

/**
 * Mean over batches of |w · ∂L/∂w|, L the exits' joint loss with the weights that they are fine-tuned with: to first order, how
 * much the loss changes when the weight goes. Batch norms work as in the fine-tuning that follows. Costs about three forward passes a batch.
 *
 * Source: P. Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", 2017 [D], for single
 * weights; the joint loss of all exits is ours.
 * @throws InputError on an option that is unknown or out of range, or fewer samples than a batch.
 */
export function taylor(options?: TaylorOptions): Criterion {
  const { batchSize, batches } = parseOptions("prune-ee.criteria.taylor", schema, options);
  return { name: `taylor ${batches} × ${batchSize}`, score: (context) => taylorScores(context, batchSize, batches) };
}

async function taylorScores(context: ScoringContext, batchSize: number, batches: number) {
  const { device, network, params, weights, trains, data, lossWeights, random } = context;
  if (data.size < batchSize) {
    const fix = "Ask for smaller batches.";
    throw new InputError("prune-ee.criteria.taylor", `at least ${batchSize} samples are needed`, `${data.size}`, fix);
  }
  const paths = [...weights.keys()];
  const program = trace(
    (given) => {
      const values = given.params as ExitParameters<Value>;
      const { logits } = network.apply(values, given.x, { trains });
      const { loss } = exitsLoss(logits, given.y, { weights: given.weights });
      const flat = layers.flattenParameters(values);
      const wanted = Object.fromEntries(paths.map((path) => [path, flat[path]!]));
      const slopes = layers.flattenParameters(gradients(loss, wanted) as TreeRecord<Value>);
      return Object.fromEntries(paths.map((path) => [path, ops.abs(ops.mul(wanted[path]!, slopes[path]!))]));
    },
    {
      params: layers.specsOf<TreeRecord<Spec>>(params),
      x: spec(network.backbone.input.dtype, [batchSize, ...network.backbone.input.shape.slice(1)]),
      y: spec("int64", [batchSize]),
      weights: spec("float32", [lossWeights.length]),
    },
  );
  const runner = await device.compile(program, { constants: { params }, opset: network.backbone.opset });
  try {
    const order = random.permutation(data.size);
    const count = Math.min(batches, Math.floor(data.size / batchSize));
    const sums = new Map(paths.map((path) => [path, new Float64Array(weights.get(path)!.data.length)]));
    for (let batch = 0; batch < count; batch++) {
      const indices = order.subarray(batch * batchSize, (batch + 1) * batchSize);
      const feeds = await data.batch(indices, random.split());
      const scores = await runner.run({ ...feeds, weights: tensor("float32", [lossWeights.length], [...lossWeights]) });
      for (const [path, sum] of sums) addTo(sum, scores[path] as Tensor<"float32">, count);
    }
    return new Map(
      paths.map((path) => [path, { shape: weights.get(path)!.shape, data: Float32Array.from(sums.get(path)!) }]),
    );
  } finally {
    await runner.release();
  }
}

function addTo(sum: Float64Array, { data }: Tensor<"float32">, count: number): void {
  for (let at = 0; at < sum.length; at++) sum[at]! += data[at]! / count;
}
