import {
  type CompileOptions,
  gradients,
  InputError,
  layers,
  type Program,
  spec,
  type Tensor,
  type TreeRecord,
  tensor,
  type Value,
} from "@exitkit/core-gpu";
import { type ExitParameters, exitsLoss } from "@exitkit/early-exit";
import { z } from "zod";
import type { ScoringContext } from "./criterion.ts";

/** Samples that a criterion looks at. */
export interface ScoringBatches {
  /** Samples of a batch. Default 128. */
  readonly batchSize?: number;
  /** Batches, drawn at random without repeats. Default 8, or as many as the data has. */
  readonly batches?: number;
}

/** Options of {@link ScoringBatches}, as a schema's shape. */
export const scoringBatches = { batchSize: z.int().min(1).default(128), batches: z.int().min(1).default(8) };

/** The weights to score among a program's values of the parameters. */
export function scoredWeights({ weights }: ScoringContext, params: ExitParameters<Value>): Record<string, Value> {
  const flat = layers.flattenParameters(params);
  return Object.fromEntries([...weights.keys()].map((path) => [path, flat[path]!]));
}

/** The weights to score, by path, each with its gradient of the exits' joint loss on a batch. */
export function lossSlopes(
  context: ScoringContext,
  values: ExitParameters<Value>,
  { x, y, weights }: { readonly x: Value; readonly y: Value; readonly weights: Value },
): readonly (readonly [path: string, weight: Value, slope: Value])[] {
  const { logits } = context.network.apply(values, x, { trains: context.trains });
  const { loss } = exitsLoss(logits, y, { weights });
  const wanted = scoredWeights(context, values);
  const slopes = layers.flattenParameters(gradients(loss, wanted) as TreeRecord<Value>);
  return Object.entries(wanted).map(([path, weight]) => [path, weight, slopes[path]!] as const);
}

/** Specs of a batch: samples `x`, labels `y`, and the exits' `weights` in the loss. */
export function batchSpecs({ network, lossWeights }: ScoringContext, batchSize: number) {
  const { dtype, shape } = network.backbone.input;
  return {
    x: spec(dtype, [batchSize, ...shape.slice(1)]),
    y: spec("int64", [batchSize]),
    weights: spec("float32", [lossWeights.length]),
  };
}

/**
 * Runs a program on random batches and sums up, for each weight and in float64, what it gives as `scores.<path>`.
 *
 * @returns The sums by path, and over how many batches.
 * @throws InputError where the data has fewer samples than a batch.
 */
export async function sumOverBatches(
  caller: string,
  { device, network, weights, data, lossWeights, random }: ScoringContext,
  { batchSize, batches }: Required<ScoringBatches>,
  program: Program<unknown, unknown>,
  options: Pick<CompileOptions, "constants" | "state" | "initial">,
) {
  if (data.size < batchSize) {
    throw new InputError(
      caller,
      `at least ${batchSize} samples are needed`,
      `${data.size}`,
      "Ask for smaller batches.",
    );
  }
  const runner = await device.compile(program, { ...options, opset: network.backbone.opset });
  try {
    const order = random.permutation(data.size);
    const count = Math.min(batches, Math.floor(data.size / batchSize));
    const sums = new Map([...weights].map(([path, { data }]) => [path, new Float64Array(data.length)]));
    const given = tensor("float32", [lossWeights.length], [...lossWeights]);
    for (let batch = 0; batch < count; batch++) {
      const indices = order.subarray(batch * batchSize, (batch + 1) * batchSize);
      const scores = await runner.run({ ...(await data.batch(indices, random.split())), weights: given });
      for (const [path, sum] of sums) addTo(sum, scores[`scores.${path}`] as Tensor<"float32">);
    }
    return { sums, count };
  } finally {
    await runner.release();
  }
}

function addTo(sum: Float64Array, { data }: Tensor<"float32">): void {
  for (let at = 0; at < sum.length; at++) sum[at]! += data[at]!;
}

/** Scores by path from one number an element. */
export function scoresFrom(
  { weights }: ScoringContext,
  score: (path: string, at: number, weight: number) => number,
): ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float32Array }> {
  return new Map(
    [...weights].map(([path, { shape, data }]) => [
      path,
      { shape, data: data.map((weight, at) => score(path, at, weight)) },
    ]),
  );
}
