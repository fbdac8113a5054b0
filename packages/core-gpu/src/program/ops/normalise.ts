import { z } from "zod";
import { InputError } from "../../errors.ts";
import { type Tensor, tensor } from "../../tensor.ts";
import { multiplyDimensions, type Shape, sameShape } from "../dimensions.ts";
import { float } from "../onnx-graph.ts";
import {
  type Differentiation,
  type Emission,
  floats,
  type Operator,
  refuse,
  requireDType,
  requireSameDType,
} from "../operator.ts";
import { printSpec, type Spec } from "../spec.ts";
import { apply, type Operand, operatorOptions, type Value } from "../value.ts";
import { add, mul } from "./arithmetic.ts";
import { emitReduction } from "./reduce.ts";
import { expand, reshape } from "./shape.ts";

interface Epsilon {
  readonly epsilon: number;
}

/** The shape with its last dimension 1: that of a statistic of each row. */
function ofRows(shape: Shape): Shape {
  return [...shape.slice(0, -1), 1];
}

function inferRows([x, ...parameters]: readonly Spec[]): Shape {
  requireDType(floats, x!, ...parameters);
  requireSameDType(x!, ...parameters);
  const features = x!.shape.at(-1);
  if (features === undefined) refuse("x must be [..., d]");
  if (!parameters.every(({ shape }) => sameShape(shape, [features]))) {
    refuse(`scale and bias must have shape [${features}], x's last dimension`);
  }
  return ofRows(x!.shape);
}

/** 1 ÷ the number of elements of a row. */
function share(ops: Differentiation["ops"], x: Value): Operand {
  const features = x.shape.at(-1)!;
  return typeof features === "number" ? 1 / features : ops.div(1, ops.cast(ops.gather(ops.shapeOf(x), -1), x.dtype));
}

/** The mean of each row of `x · scale`, as a product that reads x once and writes nothing of its size. */
function scaledMean(ops: Differentiation["ops"], x: Value, scale: Value): Value {
  if (x.shape.length === 1) return ops.mean(ops.mul(x, scale), { axes: 0, keepDimensions: true });
  return ops.matmul(x, ops.mul(ops.unsqueeze(scale, 1), share(ops, x)));
}

/** Sum over all axes but the last. */
function sumOfRows(ops: Differentiation["ops"], x: Value): Value {
  const axes = x.shape.slice(1).map((_, axis) => axis);
  return axes.length === 0 ? x : ops.sum(x, { axes });
}

function sumOf(ops: Differentiation["ops"], terms: readonly Value[]): Value | null {
  return terms.length === 0 ? null : terms.reduce((sum, term) => ops.add(sum, term));
}

const LayerNormalization: Operator<Epsilon> = {
  name: "layerNorm",
  onnx: "LayerNormalization",
  infer(operands) {
    const [x] = operands;
    const statistic = { dtype: x!.dtype, shape: inferRows(operands) };
    return [x!, statistic, statistic];
  },
  gradient({ ops, operands: [x, scale], results: [, mean, inverse], gradients, needed }) {
    const [d, ofMean, ofInverse] = gradients;
    const normal = ops.mul(ops.sub(x!, mean!), inverse!);
    const slope = d == null ? null : ops.mul(d, normal);
    const terms: Value[] = [];
    if (needed[0] && d != null) {
      // dx = inverse · (u − mean(u) − normal · mean(u · normal)) with u = d · scale and the means of rows.
      const along = ops.sub(ops.mul(d, scale!), ops.mul(normal, scaledMean(ops, slope!, scale!)));
      terms.push(ops.mul(ops.sub(along, scaledMean(ops, d, scale!)), inverse!));
    }
    if (needed[0] && ofMean != null) terms.push(ops.expand(ops.mul(ofMean, share(ops, x!)), x!.shape));
    if (needed[0] && ofInverse != null) {
      const factor = ops.mul(ops.mul(ofInverse, ops.mul(inverse!, inverse!)), share(ops, x!));
      terms.push(ops.neg(ops.mul(normal, factor)));
    }
    return [
      sumOf(ops, terms),
      needed[1] && slope !== null ? sumOfRows(ops, slope) : null,
      needed[2] && d != null ? sumOfRows(ops, d) : null,
    ];
  },
  emit({ graph, attributes: { epsilon }, inputs: [x, scale, bias], outputs, inputSpecs: [spec] }) {
    // ONNX gives the statistics as float32 whatever x is.
    const direct = graph.opset >= 17 && spec!.dtype === "float32";
    const attributes = { axis: -1, epsilon: float(epsilon) };
    if (direct && graph.provider !== "webgpu") {
      graph.node("LayerNormalization", [x!, scale!, bias!], attributes, outputs);
      return;
    }
    const [y, mean, inverse] = outputs as [string, string, string];
    const axes = [spec!.shape.length - 1];
    const centred = graph.node("Sub", [x!, emitReduction(graph, "ReduceMean", x!, axes, true, [mean])]);
    if (direct) {
      // ONNX Runtime 1.30 on WebGPU takes the variance from the mean of squares, which loses its digits far from 0.
      const zeros = graph.fresh(`${mean}/centred`);
      graph.node("LayerNormalization", [centred, scale!, bias!], attributes, [y, zeros, inverse]);
      return;
    }
    const variance = emitReduction(graph, "ReduceMean", graph.node("Mul", [centred, centred]), axes, true);
    emitInverseRoot(graph, variance, epsilon, spec!, inverse);
    const normal = graph.node("Mul", [centred, inverse]);
    graph.node("Add", [graph.node("Mul", [normal, scale!]), bias!], {}, [y]);
  },
};

/** `1 ÷ √(x + epsilon)` */
function emitInverseRoot(graph: Emission["graph"], x: string, epsilon: number, { dtype }: Spec, output: string): void {
  const small = graph.constant(tensor(dtype, [], [epsilon]));
  graph.node("Reciprocal", [graph.node("Sqrt", [graph.node("Add", [x, small])])], {}, [output]);
}

const RmsNormalization: Operator<Epsilon> = {
  name: "rmsNorm",
  onnx: "ReduceMean",
  infer(operands) {
    const [x] = operands;
    return [x!, { dtype: x!.dtype, shape: inferRows(operands) }];
  },
  gradient({ ops, operands: [x, scale], results: [, inverse], gradients: [d, ofInverse], needed }) {
    const normal = ops.mul(x!, inverse!);
    const slope = d == null ? null : ops.mul(d, normal);
    const terms: Value[] = [];
    if (needed[0] && d != null) {
      const along = ops.sub(ops.mul(d, scale!), ops.mul(normal, scaledMean(ops, slope!, scale!)));
      terms.push(ops.mul(along, inverse!));
    }
    if (needed[0] && ofInverse != null) {
      const factor = ops.mul(ops.mul(ofInverse, ops.mul(inverse!, inverse!)), share(ops, x!));
      terms.push(ops.neg(ops.mul(normal, factor)));
    }
    return [sumOf(ops, terms), needed[1] && slope !== null ? sumOfRows(ops, slope) : null];
  },
  emit({ graph, attributes: { epsilon }, inputs: [x, scale], outputs: [y, inverse], inputSpecs: [spec] }) {
    const axes = [spec!.shape.length - 1];
    const meanSquare = emitReduction(graph, "ReduceMean", graph.node("Mul", [x!, x!]), axes, true);
    emitInverseRoot(graph, meanSquare, epsilon, spec!, inverse!);
    graph.node("Mul", [graph.node("Mul", [x!, inverse!]), scale!], {}, [y!]);
  },
};

export const operators = [LayerNormalization, RmsNormalization] as readonly Operator[];

/** Options of the normalisations. */
export interface NormalisationOptions {
  /** Added to the variance (or mean square). Default 1e-5. */
  readonly epsilon?: number;
}

const normalisationOptions = z.strictObject({ epsilon: z.number().positive().default(1e-5) });

/**
 * Layer normalisation over the last axis: `(x − mean) ÷ √(variance + ε) · scale + bias`, mean and (biased) variance of
 * each x[..., :]; x [..., d], scale and bias [d]; float32 or float64. ONNX LayerNormalization (arithmetic before opset 17).
 *
 * Source: Ba, Kiros and Hinton, Layer Normalization, 2016, https://arxiv.org/abs/1607.06450
 */
export function layerNorm(x: Operand, scale: Operand, bias: Operand, options?: NormalisationOptions): Value {
  return apply(LayerNormalization, [x, scale, bias], operatorOptions("layerNorm", normalisationOptions, options))[0]!;
}

/**
 * Normalisation by the root mean square of the last axis: `x ÷ √(mean(x²) + ε) · scale`; x [..., d], scale [d]; float32 or
 * float64. PyTorch's `rms_norm`. ONNX arithmetic (the operator RMSNormalization came with opset 23).
 *
 * Source: Zhang and Sennrich, Root Mean Square Layer Normalization, 2019, https://arxiv.org/abs/1910.07467
 */
export function rmsNorm(x: Operand, scale: Operand, options?: NormalisationOptions): Value {
  return apply(RmsNormalization, [x, scale], operatorOptions("rmsNorm", normalisationOptions, options))[0]!;
}

const groupNormOptions = normalisationOptions.extend({ groups: z.int().min(1) });

/**
 * Group normalisation: the c channels in `groups` groups of neighbours, each group of each sample normalised by its own
 * mean and (biased) variance, then `· scale + bias` for each channel; x [n, c, ...], scale and bias [c]; float32 or
 * float64. `groups` = c is instance normalisation. ONNX LayerNormalization between reshapes.
 *
 * Source: Wu and He, Group Normalization, 2018, https://arxiv.org/abs/1803.08494
 */
export function groupNorm(
  x: Value | Tensor,
  scale: Value | Tensor,
  bias: Value | Tensor,
  options: NormalisationOptions & { readonly groups: number },
): Value {
  const { groups, epsilon } = operatorOptions("groupNorm", groupNormOptions, options);
  const caller = "core-gpu.ops.groupNorm";
  const [samples, channels, ...space] = x.shape;
  if (samples === undefined || typeof channels !== "number" || channels % groups !== 0) {
    throw new InputError(caller, `x must be [n, c, ...] with c a multiple of groups (${groups})`, printSpec(x));
  }
  for (const parameter of [scale, bias]) {
    if (sameShape(parameter.shape, [channels]) && parameter.dtype === x.dtype) continue;
    const wanted = printSpec({ dtype: x.dtype, shape: [channels] });
    throw new InputError(caller, `scale and bias must be ${wanted}, x's second dimension`, printSpec(parameter));
  }
  const size = multiplyDimensions([channels / groups, ...space]);
  const grouped = reshape(x, [samples, groups, size]);
  const all = (value: number): Value => expand(tensor(x.dtype, [], [value]), [size]);
  const normal = reshape(layerNorm(grouped, all(1), all(0), { epsilon }), x.shape);
  const perChannel = (parameter: Operand): Value => reshape(parameter, [channels, ...space.map(() => 1)]);
  return add(mul(normal, perChannel(scale)), perChannel(bias));
}
