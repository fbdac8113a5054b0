import { asTensor, InputError, type RuntimeTensor, type Tensor } from "@exitkit/core-gpu";
import { type Labels, labelsOf } from "../records/labels.ts";

/** Where the logarithm of a temperature is looked for: 1/100 to 100. */
const ENDS = [Math.log(0.01), Math.log(100)] as const;
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/**
 * The temperature T > 0 at which softmax(logits ÷ T) gives labelled samples the least mean negative log-likelihood, so that the
 * probabilities of different networks can be compared. The answer does not change, only how sure it is. Between 0.01 and 100; an end where
 * the likelihood keeps rising (all answers right, say). Deterministic.
 *
 * @param logits `[n, k]`, float32 or float64, n ≥ 1, k ≥ 2, finite; of samples the network was not trained on.
 * @param labels `[n]` the true classes; samples of no known class (−1) are left out.
 * @throws InputError on another shape or dtype, a label out of range, a logit that is not finite, or no label at all.
 * Source: Guo et al., "On calibration of modern neural networks", 2017, section 4.2 [M].
 * @example
 * ```ts
 * import { tensor } from "@exitkit/core-gpu";
 * import { fitTemperature } from "@exitkit/early-exit";
 * // Sure of everything, right in three of four: the probabilities should be 3/4, so T = 4 ÷ ln 3.
 * const logits = tensor("float32", [4, 2], [4, 0, 4, 0, 4, 0, 4, 0]);
 * console.assert(Math.abs(fitTemperature(logits, Int32Array.of(0, 0, 0, 1)) - 4 / Math.log(3)) < 1e-4);
 * ```
 */
export function fitTemperature(logits: Tensor | RuntimeTensor, labels: Labels): number {
  const caller = "early-exit.fitTemperature";
  const { dtype, shape, data } = (asTensor(logits) ?? {}) as Partial<Tensor>;
  const [n, k] = shape ?? [];
  if (shape?.length !== 2 || n === undefined || k === undefined || n < 1 || k < 2) {
    throw new InputError(caller, "logits must have shape [n, k] with n ≥ 1, k ≥ 2", `[${(shape ?? []).join(", ")}]`);
  }
  if (dtype !== "float32" && dtype !== "float64")
    throw new InputError(caller, "logits must be float32 or float64", String(dtype));
  const classes = labelsOf(caller, "labels", labels);
  if (classes.length !== n)
    throw new InputError(caller, `${n} labels, one for each row of the logits`, `${classes.length}`);
  const values = data as Float32Array;
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0)
    throw new InputError(caller, "logits must be finite", `${values[bad]} at sample ${Math.floor(bad / k)}`);
  const wrong = classes.findIndex((label) => label < -1 || label >= k);
  if (wrong >= 0) {
    throw new InputError(caller, `labels must lie in 0..${k - 1}, or be −1`, `${classes[wrong]} at sample ${wrong}`);
  }
  if (classes.every((label) => label < 0))
    throw new InputError(caller, "at least one sample must have a label", "none");
  // In 1/T the loss is convex; in log T it still has one minimum.
  const loss = (logarithm: number) => negativeLogLikelihood(values, classes, k, Math.exp(-logarithm));
  let [low, high] = ENDS as readonly number[] as [number, number];
  let [a, b] = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)];
  let [atA, atB] = [loss(a), loss(b)];
  while (high - low > 1e-7) {
    if (atA <= atB) {
      [high, b, atB] = [b, a, atA];
      a = high - GOLDEN * (high - low);
      atA = loss(a);
    } else {
      [low, a, atA] = [a, b, atB];
      b = low + GOLDEN * (high - low);
      atB = loss(b);
    }
  }
  return Math.exp((low + high) / 2);
}

function negativeLogLikelihood(values: Float32Array, labels: Int32Array, k: number, factor: number): number {
  let total = 0;
  labels.forEach((label, i) => {
    if (label < 0) return;
    let most = Number.NEGATIVE_INFINITY;
    for (let c = 0; c < k; c++) most = Math.max(most, values[i * k + c]!);
    let sum = 0;
    for (let c = 0; c < k; c++) sum += Math.exp((values[i * k + c]! - most) * factor);
    total += Math.log(sum) - (values[i * k + label]! - most) * factor;
  });
  return total;
}
