import { asTensor, InputError, ops, type RuntimeTensor, type Tensor, type Value } from "@exitkit/core-gpu";

/**
 * How sure an exit is, one number a sample, higher = surer, in [0, 1]:
 * `maxProbability` = the largest of p; `margin` = the largest minus the second largest of p;
 * `normalisedEntropy` = 1 − H(p) / ln k with H(p) = −Σ p ln p (p = softmax of the scores).
 */
export type Confidence = "maxProbability" | "margin" | "normalisedEntropy";

/**
 * Confidence of every row of scores, in float64: the reference that a graph computes in float32.
 *
 * @param scores `[n, k]` logits or log-posteriors, not probabilities; float32 or float64, k ≥ 2, finite.
 * @param name Which {@link Confidence}.
 * @returns `[n]`
 * @throws InputError on another shape or dtype, fewer than 2 classes, a score that is not finite, or an unknown name.
 * @example
 * ```ts
 * import { tensor } from "@exitkit/core-gpu";
 * import { confidences } from "@exitkit/early-exit";
 * const [sure] = confidences(tensor("float32", [1, 2], [0, 0]), "maxProbability");
 * console.assert(sure === 0.5);
 * ```
 */
export function confidences(scores: Tensor | RuntimeTensor, name: Confidence): Float64Array {
  const caller = "early-exit.confidences";
  const rule = (rules as Partial<typeof rules>)[name];
  if (!Object.hasOwn(rules, name) || rule === undefined) {
    throw new InputError(caller, `the confidence must be one of ${Object.keys(rules).join(", ")}`, `"${String(name)}"`);
  }
  const { shape = [], dtype, data: held } = (asTensor(scores) ?? {}) as Partial<Tensor>;
  const [n, k] = shape;
  if (shape.length !== 2 || n === undefined || k === undefined || k < 2) {
    throw new InputError(caller, "scores must have shape [n, k] with k ≥ 2", `[${shape.join(", ")}]`);
  }
  if (dtype !== "float32" && dtype !== "float64") {
    throw new InputError(caller, "scores must be float32 or float64", String(dtype));
  }
  const data = held as Float32Array | Float64Array;
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new InputError(
      caller,
      "scores must be finite",
      `${data[bad]} at sample ${Math.floor(bad / k)}, class ${bad % k}`,
    );
  }
  return Float64Array.from({ length: n }, (_, i) => rule(data.subarray(i * k, (i + 1) * k)));
}

type Row = Float32Array | Float64Array;

const rules = {
  maxProbability: (row: Row): number => 1 / shifted(row).sum,
  margin: (row: Row): number => {
    const { second, sum } = shifted(row);
    return (1 - Math.exp(second)) / sum;
  },
  // H(p) = ln Σ exp(s) − Σ p·s, for scores s shifted so that the largest is 0.
  normalisedEntropy: (row: Row): number => {
    const { most, sum } = shifted(row);
    let mean = 0;
    for (const score of row) mean += (Math.exp(score - most) / sum) * (score - most);
    return 1 - (Math.log(sum) - mean) / Math.log(row.length);
  },
} as const satisfies Record<Confidence, (row: Row) => number>;

/** Largest score, the second largest less the largest, and Σ exp(score − largest). */
function shifted(row: Row): { most: number; second: number; sum: number } {
  let most = Number.NEGATIVE_INFINITY;
  let second = Number.NEGATIVE_INFINITY;
  for (const score of row) {
    if (score > most) [most, second] = [score, most];
    else if (score > second) second = score;
  }
  let sum = 0;
  for (const score of row) sum += Math.exp(score - most);
  return { most, second: second - most, sum };
}

/**
 * Confidence of every row of scores inside a traced program, in the scores' own dtype.
 *
 * @param scores `[n, k]` logits or log-posteriors, float32 or float64, k ≥ 2 and known; of tokens `[n, t, k]`, any shape with k last.
 * @param name Which {@link Confidence}.
 * @returns `[n]`, or `[n, t]`.
 * @throws InputError on another shape or an unknown name.
 */
export function confidenceOf(scores: Value, name: Confidence): Value {
  const caller = "early-exit.confidenceOf";
  if (!Object.hasOwn(rules, name)) {
    throw new InputError(caller, `the confidence must be one of ${Object.keys(rules).join(", ")}`, `"${String(name)}"`);
  }
  const k = checkScores(caller, scores);
  const axis = scores.shape.length - 1;
  if (name === "maxProbability") return ops.max(ops.softmax(scores), { axes: axis });
  if (name === "margin") {
    const { values } = ops.topK(ops.softmax(scores), 2);
    const column = (at: number): Value => ops.squeeze(ops.slice(values, { axis, from: at, to: at + 1 }), axis);
    return ops.sub(column(0), column(1));
  }
  const logs = ops.logSoftmax(scores);
  return ops.add(ops.div(ops.sum(ops.mul(ops.exp(logs), logs), { axes: axis }), Math.log(k)), 1);
}

/** The class with the highest score, the first of equals: `[n, k]` → int64 `[n]`, k last of any shape. @throws InputError on another shape. */
export function predictionOf(scores: Value): Value {
  checkScores("early-exit.predictionOf", scores);
  return ops.argMax(scores, { axis: scores.shape.length - 1 });
}

function checkScores(caller: string, scores: Value): number {
  const { shape } = (scores ?? {}) as Partial<Value>;
  const k = shape?.at(-1);
  if (shape !== undefined && shape.length >= 2 && typeof k === "number" && k >= 2) return k;
  const actual = shape === undefined ? typeof scores : `[${shape.join(", ")}]`;
  throw new InputError(caller, "scores must have shape [n, k] with a known k ≥ 2", actual);
}
