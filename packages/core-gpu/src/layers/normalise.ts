import { z } from "zod";
import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import { parseOptions } from "../options.ts";
import { elementsPerChannel } from "../program/ops/batch-norm.ts";
import * as ops from "../program/ops/index.ts";
import { printSpec } from "../program/spec.ts";
import type { Operand, Value } from "../program/value.ts";
import { type Tensor, tensor } from "../tensor.ts";

/** Parameters of {@link batchNorm}, all [c]. The statistics are not trained but followed: see `trainable`. */
export type BatchNormParameters<Leaf = Tensor> = {
  readonly weight: Leaf;
  readonly bias: Leaf;
  readonly runningMean: Leaf;
  readonly runningVariance: Leaf;
};

/** The running statistics of a batch norm, [c] each. */
export type RunningStatistics<Leaf = Tensor> = {
  readonly runningMean: Leaf;
  readonly runningVariance: Leaf;
};

/** Options of {@link batchNorm}. */
export interface BatchNormOptions {
  /** Normalise by the batch's own statistics and move the running ones towards them. */
  readonly training: boolean;
  /** Added to the variance. Default 1e-5. */
  readonly epsilon?: number;
  /** Share of the batch's statistics in the next running ones, 0 to 1 (as in PyTorch; TensorFlow's is 1 − it). Default 0.1. */
  readonly momentum?: number;
}

/** Parameters of {@link layerNorm}: weight and bias [d]. */
export type LayerNormParameters<Leaf = Tensor> = {
  readonly weight: Leaf;
  readonly bias: Leaf;
};

const batchNormOptions = z.strictObject({
  training: z.boolean(),
  epsilon: z.number().positive().default(1e-5),
  momentum: z.number().min(0).max(1).default(0.1),
});

const filled = (size: number, value: number): Tensor => {
  const made = tensor("float32", [size]);
  made.data.fill(value);
  return made;
};

/** First parameters of a batch norm over c channels: weight and running variance 1, bias and running mean 0. */
export function initBatchNorm(channels: number): BatchNormParameters {
  return {
    weight: filled(channels, 1),
    bias: filled(channels, 0),
    runningMean: filled(channels, 0),
    runningVariance: filled(channels, 1),
  };
}

/**
 * Batch normalisation of x [n, c, ...]: `y = (x − mean) ÷ √(variance + ε) · weight + bias` on each channel. In training
 * mean and (biased) variance are the batch's, otherwise the running ones.
 *
 * @returns `y`, and `updated`: the next running statistics, `(1 − momentum)·running + momentum·batch`, the batch's variance
 * being the unbiased one, as in PyTorch. Without training they are the ones given. A batch with one element a channel (one
 * sample of [n, c]) has no variance: it leaves them as they are, and its y is the bias; `training.train` refuses such a
 * last batch.
 * @throws InputError on an option out of range, or in training where the shape of x says one element a channel; shapes as
 * `ops.batchNorm`.
 */
export function batchNorm(
  params: BatchNormParameters<Value>,
  x: Value,
  given: BatchNormOptions,
): { readonly y: Value; readonly updated: RunningStatistics<Value> } {
  const caller = "core-gpu.layers.batchNorm";
  const { training, epsilon, momentum } = parseOptions(caller, batchNormOptions, given);
  const { weight, bias, runningMean, runningVariance } = params;
  if (!training) {
    const y = ops.batchNorm(x, weight, bias, runningMean, runningVariance, { epsilon });
    return { y, updated: { runningMean, runningVariance } };
  }
  const { y, mean, unbiasedVariance } = ops.batchNormTraining(x, weight, bias, { epsilon });
  const elements = elementsPerChannel(x);
  if (elements === 1) {
    const fix = "Take larger batches, or training: false.";
    throw new InputError(caller, "training needs more than one element a channel", printSpec(x), fix);
  }
  const next = (running: Value, batch: Value): Value => {
    const moved = ops.add(ops.mul(running, 1 - momentum), ops.mul(ops.stopGradient(batch), momentum));
    return typeof elements === "number" ? moved : ops.where(ops.greater(elements, 1), moved, running);
  };
  const updated = { runningMean: next(runningMean, mean), runningVariance: next(runningVariance, unbiasedVariance) };
  return { y, updated };
}

/** First parameters of a layer norm over d features: weight 1, bias 0. */
export function initLayerNorm(features: number): LayerNormParameters {
  return { weight: filled(features, 1), bias: filled(features, 0) };
}

/** Layer normalisation over the last axis: x [..., d]. See `ops.layerNorm`. */
export function layerNorm(params: LayerNormParameters<Value>, x: Operand, given?: ops.NormalisationOptions): Value {
  checkArguments("core-gpu.layers.layerNorm", {
    params: [params, { weight: "a traced value or a tensor", bias: "a traced value or a tensor" }],
  });
  return ops.layerNorm(x, params.weight, params.bias, given);
}

/** First parameters of an RMS norm over d features: weight 1. */
export function initRmsNorm(features: number): { readonly weight: Tensor } {
  return { weight: filled(features, 1) };
}

/** RMS normalisation over the last axis: x [..., d]. See `ops.rmsNorm`. */
export function rmsNorm(params: { readonly weight: Value }, x: Operand, given?: ops.NormalisationOptions): Value {
  checkArguments("core-gpu.layers.rmsNorm", { params: [params, { weight: "a traced value or a tensor" }] });
  return ops.rmsNorm(x, params.weight, given);
}

/** First parameters of a group norm over c channels: weight 1, bias 0. */
export function initGroupNorm(channels: number): LayerNormParameters {
  return initLayerNorm(channels);
}

/** Group normalisation of x [n, c, ...] in groups of channels. See `ops.groupNorm`. */
export function groupNorm(
  params: LayerNormParameters<Value>,
  x: Value,
  given: ops.NormalisationOptions & { readonly groups: number },
): Value {
  checkArguments("core-gpu.layers.groupNorm", {
    params: [params, { weight: "a traced value or a tensor", bias: "a traced value or a tensor" }],
  });
  return ops.groupNorm(x, params.weight, params.bias, given);
}
