import { z } from "zod";
import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import { parseOptions } from "../options.ts";
import { type Tensor, tensor } from "../tensor.ts";
import { printSpec } from "./spec.ts";

const caller = "core-gpu.foldBatchNorm";

/** A convolution's parameters. */
export interface ConvWeights {
  /** [out, c ÷ groups, ...kernel] */
  readonly weight: Tensor<"float32">;
  /** [out] */
  readonly bias: Tensor<"float32">;
}

/** What a batch normalisation of `out` channels has learned; all [out]. */
export interface BatchNormWeights {
  readonly scale: Tensor<"float32">;
  readonly bias: Tensor<"float32">;
  readonly mean: Tensor<"float32">;
  readonly variance: Tensor<"float32">;
}

/**
 * Puts a batch normalisation into the convolution (or linear layer) before it: with `s = scale ÷ √(variance + ε)`,
 * `weight' = weight · s` on each output channel and `bias' = (bias − mean) · s + bias_bn`. Computed in float64.
 *
 * @param conv Weight [out, ...] and, if the layer has one, bias [out].
 * @param options.epsilon What the normalisation adds to the variance. Default 1e-5.
 * @throws InputError where a tensor is not float32 or has another shape.
 */
export function foldBatchNorm(
  conv: { readonly weight: Tensor<"float32">; readonly bias?: Tensor<"float32"> },
  batchNorm: BatchNormWeights,
  options?: { readonly epsilon?: number },
): ConvWeights {
  checkArguments("core-gpu.foldBatchNorm", {
    conv: [conv, { weight: "a tensor" }],
    batchNorm: [batchNorm, { scale: "a tensor", bias: "a tensor", mean: "a tensor", variance: "a tensor" }],
  });
  const { epsilon } = parseOptions(caller, z.strictObject({ epsilon: z.number().positive().default(1e-5) }), options);
  const { weight, bias = null } = conv;
  const { scale, bias: shift, mean, variance } = batchNorm;
  if (weight.dtype !== "float32" || weight.shape.length < 2) {
    throw new InputError(caller, "weight must be float32 [out, ...]", printSpec(weight));
  }
  const out = weight.shape[0]!;
  for (const [name, vector] of Object.entries({ ...batchNorm, ...(bias === null ? {} : { "conv.bias": bias }) })) {
    if (vector.dtype !== "float32" || vector.shape.length !== 1 || vector.shape[0] !== out) {
      throw new InputError(caller, `${name} must be float32 [${out}], one for each output channel`, printSpec(vector));
    }
  }
  const folded = new Float32Array(weight.data.length);
  const foldedBias = new Float32Array(out);
  const width = weight.data.length / out;
  for (let channel = 0; channel < out; channel++) {
    const factor = scale.data[channel]! / Math.sqrt(variance.data[channel]! + epsilon);
    for (let at = channel * width; at < (channel + 1) * width; at++) folded[at] = weight.data[at]! * factor;
    foldedBias[channel] = ((bias?.data[channel] ?? 0) - mean.data[channel]!) * factor + shift.data[channel]!;
  }
  return { weight: tensor("float32", weight.shape, folded), bias: tensor("float32", [out], foldedBias) };
}
