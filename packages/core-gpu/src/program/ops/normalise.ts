import { z } from "zod";
import { tensor } from "../../tensor.ts";
import { sameShape } from "../dimensions.ts";
import { float } from "../onnx-graph.ts";
import { floats, type Operator, refuse, requireDType, requireSameDType } from "../operator.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { emitReduction } from "./reduce.ts";

interface Epsilon {
  readonly epsilon: number;
}

const BatchNormalization: Operator<Epsilon> = {
  name: "batchNorm",
  onnx: "BatchNormalization",
  infer(operands) {
    const [x, ...parameters] = operands;
    requireDType(floats, ...operands);
    requireSameDType(...operands);
    const channels = x!.shape[1];
    if (channels === undefined) refuse("x must be [n, c, ...]");
    if (parameters.some(({ shape }) => !sameShape(shape, [channels]))) {
      refuse(`scale, bias, mean and variance must have shape [${channels}], x's second dimension`);
    }
    return [x!];
  },
  emit: ({ graph, attributes, inputs, outputs }) =>
    void graph.node("BatchNormalization", inputs, { epsilon: float(attributes.epsilon) }, outputs),
};

const LayerNormalization: Operator<Epsilon> = {
  name: "layerNorm",
  onnx: "LayerNormalization",
  infer(operands) {
    const [x, scale, bias] = operands;
    requireDType(["float32"], ...operands);
    const features = x!.shape.at(-1);
    if (features === undefined) refuse("x must be [..., d]");
    if (![scale!, bias!].every(({ shape }) => sameShape(shape, [features]))) {
      refuse(`scale and bias must have shape [${features}], x's last dimension`);
    }
    return [x!];
  },
  emit({ graph, attributes: { epsilon }, inputs: [x, scale, bias], outputs, inputSpecs }) {
    if (graph.opset >= 17) {
      graph.node("LayerNormalization", [x!, scale!, bias!], { axis: -1, epsilon: float(epsilon) }, outputs);
      return;
    }
    const axes = [inputSpecs[0]!.shape.length - 1];
    const centred = graph.node("Sub", [x!, emitReduction(graph, "ReduceMean", x!, axes, true)]);
    const variance = emitReduction(graph, "ReduceMean", graph.node("Mul", [centred, centred]), axes, true);
    const small = graph.constant(tensor("float32", [], [epsilon]));
    const normal = graph.node("Div", [centred, graph.node("Sqrt", [graph.node("Add", [variance, small])])]);
    graph.node("Add", [graph.node("Mul", [normal, scale!]), bias!], {}, outputs);
  },
};

export const operators = [BatchNormalization, LayerNormalization] as readonly Operator[];

/** Options of {@link batchNorm} and {@link layerNorm}. */
export interface NormalisationOptions {
  /** Added to the variance. Default 1e-5. */
  readonly epsilon?: number;
}

const normalisationOptions = z.strictObject({ epsilon: z.number().positive().default(1e-5) });

/**
 * Batch normalisation with known statistics, as at inference: `(x − mean) ÷ √(variance + ε) · scale + bias` on each
 * channel; x [n, c, ...], the others [c]; float32 or float64. ONNX BatchNormalization.
 *
 * @param scale PyTorch's `weight`, often γ.
 * @param bias Often β.
 */
export function batchNorm(
  x: Operand,
  scale: Operand,
  bias: Operand,
  mean: Operand,
  variance: Operand,
  options?: NormalisationOptions,
): Value {
  const attributes = operatorOptions("batchNorm", normalisationOptions, options);
  return applyOne(BatchNormalization, [x, scale, bias, mean, variance], attributes);
}

/**
 * Layer normalisation over the last axis: `(x − mean) ÷ √(variance + ε) · scale + bias`, mean and (biased) variance of
 * each x[..., :]; x [..., d], scale and bias [d]; float32. ONNX LayerNormalization (arithmetic before opset 17).
 */
export function layerNorm(x: Operand, scale: Operand, bias: Operand, options?: NormalisationOptions): Value {
  return applyOne(LayerNormalization, [x, scale, bias], operatorOptions("layerNorm", normalisationOptions, options));
}
