import { asTensor, InputError, type RuntimeTensor, type Tensor } from "@exitkit/core-gpu";
import { type Column, integers } from "./column.ts";

/** What the scores of one exit say about every sample. All `[n]`. */
export interface ScoreColumns {
  /** The class with the highest score, the first of equals. */
  readonly prediction: Int32Array;
  /** The largest probability. */
  readonly confidence: Float64Array;
  /** The largest probability less the second largest. */
  readonly margin: Float64Array;
  /** The probability of the label, p_y. */
  readonly labelProbability: Float64Array;
  /** The label's score less the largest of the others; positive where the answer is right. */
  readonly labelMargin: Float64Array;
  /** `‖p − onehot(y)‖₂`. */
  readonly errorNorm: Float64Array;
  /** −ln p_y. */
  readonly loss: Float64Array;
}

/**
 * Columns of an exit's scores, in float64; p is their softmax.
 *
 * @param scores `[n, k]` logits, not probabilities; float32 or float64, finite.
 * @param labels `[n]` 0 … k − 1.
 * @throws InputError on scores of another shape or dtype or that are not finite, labels of another length or out of range.
 * @example
 * ```ts
 * import { tensor } from "@exitkit/core-gpu";
 * import { scoreColumns } from "@exitkit/eeprune";
 * const { errorNorm } = scoreColumns(tensor("float32", [1, 3], [2, 0, 0]), [1]);
 * console.assert(Math.abs(errorNorm[0]! - 1.19542) < 1e-5);
 * ```
 */
export function scoreColumns(scores: Tensor | RuntimeTensor, labels: Column): ScoreColumns {
  const caller = "eeprune.scoreColumns";
  const { shape, dtype, data: held } = (asTensor(scores) ?? {}) as Partial<Tensor>;
  const [n, k] = Array.isArray(shape) ? shape : [];
  if (shape?.length !== 2 || n === undefined || k === undefined || k < 2) {
    const actual = shape === undefined ? typeof scores : `[${shape.join(", ")}]`;
    throw new InputError(caller, "scores must be a tensor [n, k] with k ≥ 2", actual);
  }
  if (dtype !== "float32" && dtype !== "float64") {
    throw new InputError(caller, "scores must be float32 or float64", String(dtype));
  }
  const classes = integers(caller, "labels", labels, { n, below: k });
  const data = held as Float32Array | Float64Array;
  const made = {
    prediction: new Int32Array(n),
    confidence: new Float64Array(n),
    margin: new Float64Array(n),
    labelProbability: new Float64Array(n),
    labelMargin: new Float64Array(n),
    errorNorm: new Float64Array(n),
    loss: new Float64Array(n),
  };
  for (let i = 0; i < n; i++) {
    const [start, label] = [i * k, classes[i]!];
    let [first, second, other] = [0, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (let c = 0; c < k; c++) {
      const score = data[start + c]!;
      if (!Number.isFinite(score)) {
        throw new InputError(caller, "scores must be finite", `${score} at sample ${i}, class ${c}`);
      }
      if (c > 0 && score > data[start + first]!) [first, second] = [c, data[start + first]!];
      else if (c > 0 && score > second) second = score;
      if (c !== label && score > other) other = score;
    }
    const most = data[start + first]!;
    let sum = 0;
    for (let c = 0; c < k; c++) sum += Math.exp(data[start + c]! - most);
    let square = 0;
    for (let c = 0; c < k; c++) {
      const p = Math.exp(data[start + c]! - most) / sum;
      square += (c === label ? p - 1 : p) ** 2;
    }
    made.prediction[i] = first;
    made.confidence[i] = 1 / sum;
    made.margin[i] = (1 - Math.exp(second - most)) / sum;
    made.labelProbability[i] = Math.exp(data[start + label]! - most) / sum;
    made.labelMargin[i] = data[start + label]! - other;
    made.errorNorm[i] = Math.sqrt(square);
    made.loss[i] = Math.log(sum) - (data[start + label]! - most);
  }
  return made;
}
