import { z } from "zod";
import { InputError } from "../../errors.ts";
import { type Tensor, tensor } from "../../tensor.ts";
import { sameShape } from "../dimensions.ts";
import { floats, type Operator, refuse, requireDType } from "../operator.ts";
import { printSpec } from "../spec.ts";
import { apply, type Operand, operatorOptions, type Value } from "../value.ts";
import { clip, div, exp, log, mul, square, sub } from "./arithmetic.ts";
import { cast, equal, not, where } from "./logic.ts";
import { emitReduction, mean, sum } from "./reduce.ts";
import { gather } from "./select.ts";

/** How the losses of samples become one: their (weighted) mean, their sum, or not at all. */
export type Reduction = "mean" | "sum" | "none";

/**
 * Loss of each row and, beside it, the softmax: the gradient is made of that. The row's ln Σ e^x is got without another
 * pass of exponentials, as max x − ln max softmax(x), which neither overflows nor cancels.
 */
const CrossEntropy: Operator = {
  name: "crossEntropy",
  onnx: "Softmax",
  infer([logits, labels]) {
    requireDType(floats, logits!);
    requireDType(["int32", "int64"], labels!);
    if (logits!.shape.length === 0) refuse("logits must be [..., k]");
    if (!sameShape(labels!.shape, logits!.shape.slice(0, -1))) {
      refuse("labels must have the shape of logits [..., k] without its last dimension");
    }
    return [{ dtype: logits!.dtype, shape: labels!.shape }, logits!];
  },
  gradient({ ops, operands: [logits, labels], results: [, probabilities], gradients: [d, extra] }) {
    const p = probabilities!;
    const ofProbabilities = (): Value => {
      const weighted = ops.mul(extra!, p);
      return ops.sub(weighted, ops.mul(p, ops.sum(weighted, { axes: -1, keepDimensions: true })));
    };
    if (d === null) return [ofProbabilities(), null];
    // softmax − one-hot, times the row's d: one element of each row is written anew.
    const index = ops.unsqueeze(labels!, -1);
    const weight = ops.unsqueeze(d!, -1);
    const right = ops.mul(ops.sub(ops.takeAlongAxis(p, index), tensor(logits!.dtype, [], [1])), weight);
    const ofLosses = ops.scatter(ops.mul(p, weight), index, right);
    return [extra === null ? ofLosses : ops.add(ofLosses, ofProbabilities()), null];
  },
  emit({ graph, inputs: [logits, given], outputs, inputSpecs: [spec, { dtype }] }) {
    const axis = spec!.shape.length - 1;
    const squeezed = (name: string, results?: readonly string[]): string =>
      graph.opset >= 13
        ? graph.node("Squeeze", [name, graph.ints([axis])], {}, results)
        : graph.node("Squeeze", [name], { axes: [axis] }, results);
    // ONNX counts negative indices from the end: −1 would silently be the last class. Now it is out of range, as k is.
    const [zero, outside] = [0, 2 ** 31 - 1].map((value) => graph.constant(tensor(dtype, [], [value])));
    const labels = graph.node("Where", [graph.node("Less", [given!, zero!]), outside!, given!]);
    const index =
      graph.opset >= 13
        ? graph.node("Unsqueeze", [labels, graph.ints([axis])])
        : graph.node("Unsqueeze", [labels], { axes: [axis] });
    const p = graph.node("Softmax", [logits!], { axis }, [outputs[1]!]);
    const largest = emitReduction(graph, "ReduceMax", logits!, [axis], true);
    const logSum = graph.node("Sub", [
      largest,
      graph.node("Log", [emitReduction(graph, "ReduceMax", p, [axis], true)]),
    ]);
    const own = graph.node("GatherElements", [logits!, index], { axis });
    squeezed(graph.node("Sub", [logSum, own]), [outputs[0]!]);
  },
};

export const operators = [CrossEntropy] as readonly Operator[];

/** Options of {@link crossEntropy}. */
export interface CrossEntropyOptions {
  /** Samples of this label count nothing; any whole number, -100 in PyTorch. Default: there is none. */
  readonly ignoreIndex?: number;
  /** A weight for each class, [k]. Default: all 1. */
  readonly classWeights?: Value | Tensor;
  /**
   * `"mean"` divides by the sum of the samples' weights (without ignored ones); where that is 0 the loss is 0 and so is its
   * gradient. Default `"mean"`.
   */
  readonly reduction?: Reduction;
}

const reduction = z.enum(["mean", "sum", "none"]).default("mean");
const crossEntropyOptions = z.strictObject({
  ignoreIndex: z.int().optional(),
  classWeights: z.custom<Value | Tensor>((value) => typeof value === "object" && value !== null).optional(),
  reduction,
});

/**
 * Cross-entropy of logits and label indices: for each sample `ln Σⱼ e^xⱼ − x_label`, then reduced. logits [..., k] (float32
 * or float64), labels [...] (int32 or int64, 0 … k − 1; on the CPU another ends the run) → `[]`, or [...] for `"none"`. ONNX
 * Softmax, GatherElements and arithmetic; the gradient is `(softmax − one-hot) · weight`, without a one-hot matrix.
 *
 * Differs: PyTorch has the classes on axis 1, ignores label −100 unless told otherwise, and gives NaN where all are ignored.
 *
 * @throws InputError where the shapes do not fit, or `classWeights` is not [k] of the logits' dtype.
 * @example
 * ```ts
 * import { gradients, ops, spec, trace } from "@exitkit/core-gpu";
 * const program = trace(
 *   ({ logits, labels }) => {
 *     const loss = ops.crossEntropy(logits, labels, { ignoreIndex: -1 });
 *     return { loss, gradient: gradients(loss, logits) };
 *   },
 *   { logits: spec("float32", ["n", 10]), labels: spec("int64", ["n"]) },
 * );
 * console.assert(program.outputs[0]?.spec.shape.length === 0);
 * ```
 */
export function crossEntropy(logits: Operand, labels: Value | Tensor, options?: CrossEntropyOptions): Value {
  const { ignoreIndex, classWeights, reduction } = operatorOptions("crossEntropy", crossEntropyOptions, options);
  const counted = ignoreIndex === undefined ? null : not(equal(labels, ignoreIndex));
  const known = counted === null ? labels : where(counted, labels, 0);
  const losses = apply(CrossEntropy, [logits, known], {})[0]!;
  if (classWeights !== undefined) {
    const classes = (logits as Value).shape.at(-1)!;
    if (classWeights.dtype !== losses.dtype || !sameShape(classWeights.shape, [classes])) {
      throw new InputError(
        "core-gpu.ops.crossEntropy",
        `classWeights must be ${printSpec({ dtype: losses.dtype, shape: [classes] })}, one for each class`,
        printSpec(classWeights),
      );
    }
  }
  const ofClass = classWeights === undefined ? null : gather(classWeights, known);
  const weights =
    counted === null ? ofClass : ofClass === null ? cast(counted, losses.dtype) : where(counted, ofClass, 0);
  if (weights === null) return reduced(losses, reduction);
  const weighted = mul(losses, weights);
  if (reduction !== "mean") return reduced(weighted, reduction);
  const total = sum(weights);
  return div(sum(weighted), where(equal(total, 0), 1, total));
}

function reduced(losses: Value, how: Reduction): Value {
  return how === "mean" ? mean(losses) : how === "sum" ? sum(losses) : losses;
}

const lossOptions = z.strictObject({ reduction });

/**
 * Squared error `(predicted − target)²`, reduced over all elements (default: their mean); the operands broadcast; float32
 * or float64. PyTorch's `mse_loss`. ONNX Sub, Mul and a reduction.
 */
export function mse(predicted: Operand, target: Operand, options?: { readonly reduction?: Reduction }): Value {
  const { reduction } = operatorOptions("mse", lossOptions, options);
  return reduced(square(sub(predicted, target)), reduction);
}

/** Options of {@link klDivergence}. */
export interface KlDivergenceOptions {
  /** Whether `target` holds logarithms too. Default false. */
  readonly logTarget?: boolean;
  /** `"batchmean"` is the sum divided by the size of the first axis. Default `"batchmean"`. */
  readonly reduction?: Reduction | "batchmean";
}

const klOptions = z.strictObject({
  logTarget: z.boolean().default(false),
  reduction: z.enum(["mean", "sum", "none", "batchmean"]).default("batchmean"),
});

/**
 * Kullback–Leibler divergence of distributions, `Σ target · (ln target − logPredicted)`: logPredicted [n, k] logarithms of
 * probabilities (`ops.logSoftmax`), target [n, k] probabilities (or their logarithms) → `[]`; float32 or float64. Where the
 * target is 0 the term is 0. PyTorch's `kl_div`.
 *
 * Differs: PyTorch's default reduction is `"mean"`, over all elements, which is no divergence.
 */
export function klDivergence(logPredicted: Value, target: Value | Tensor, options?: KlDivergenceOptions): Value {
  const { logTarget, reduction } = operatorOptions("klDivergence", klOptions, options);
  // The smallest normal float32: its logarithm times 0 is 0.
  const logarithm = logTarget ? target : log(clip(target, { minimum: 2 ** -126 }));
  const terms = mul(logTarget ? exp(target) : target, sub(logarithm, logPredicted));
  if (reduction !== "batchmean") return reduced(terms, reduction);
  const [samples] = terms.shape;
  if (samples === undefined) {
    throw new InputError("core-gpu.ops.klDivergence", '"batchmean" needs a first axis', printSpec(terms));
  }
  const all = Array.from({ length: terms.shape.length - 1 }, (_, axis) => axis + 1);
  return mean(all.length === 0 ? terms : sum(terms, { axes: all }));
}
