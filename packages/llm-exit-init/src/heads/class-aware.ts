import { InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkOutputLayer, type OutputLayer } from "../output-layer.ts";
import { classMeans, noiseOf, overallMean, positionsOf } from "../statistics/estimates.ts";
import type { TokenStatistics } from "../statistics/token-statistics.ts";
import { type TokenHead, tokenHead } from "./token-head.ts";

/** Options of {@link classAware}. */
export interface ClassAwareOptions {
  /** N₀ ≥ 0, twice the noise of a feature. Default: the maximum-likelihood estimate, `noiseOf(statistics)`. */
  readonly n0?: number;
  /**
   * What becomes of tokens that the text did not have. `floor`: weight 0; `copy`: their rows of the model's output matrix.
   * In both cases the smallest bias of the tokens seen. Default `floor`.
   */
  readonly unseen?: "floor" | "copy";
  /** The model's output layer, for `unseen: "copy"`. */
  readonly output?: OutputLayer;
}

const caller = "llm-exit-init.heads.classAware";
const schema = z.strictObject({
  n0: z.number().min(0).optional(),
  unseen: z.enum(["floor", "copy"]).default("floor"),
  output: z.custom<OutputLayer>((value) => typeof value === "object" && value !== null).optional(),
});

/**
 * The paper's head: the detector of most posterior probability for states that are their class mean and white noise.
 * `weight_v = M_v`, `bias_v = (N₀/2)·ln P_v − ½·‖M_v‖²`, with M_v the mean of the states whose next token is v and
 * P_v = |S_v| ÷ N. Its logits are the log posterior times N₀/2, up to a constant of the state.
 *
 * With `unseen: "floor"` an unseen token's logit is a constant no larger than (N₀/2)·ln P_v of any seen one. So it never
 * wins where some class mean is nearer to the state than the origin is: there that class has more.
 *
 * Source: Görmez, Koyuncu, Class-aware Initialization of Early Exits (WANT@ICML 2024): means, bias and arg max [S]; P_v and the
 * default of N₀ [D]; unseen tokens [?].
 * Differs: where the states have a large part in common (‖mean‖² above 1,024 times their noise, d·N₀/2), the weights are `M_v − μ` with μ
 * that mean and the bias `(N₀/2)·ln P_v − ½·(‖M_v‖² − ‖μ‖²)`, the same answers with digits left in float32. Not scaled: cross entropy wants `calibrate` after it.
 * @throws InputError on an option that is unknown or out of range, statistics without positions, or `copy` without an output
 * layer of their shape.
 */
export function classAware(statistics: TokenStatistics, options?: ClassAwareOptions): TokenHead {
  const n = positionsOf(caller, statistics);
  const { n0 = noiseOf(statistics), unseen, output } = parseOptions(caller, schema, options);
  const { counts, vocabulary: v, features: d } = statistics;
  const weight = classMeans(statistics);
  const shift = shiftOf(statistics, n, n0);
  const bias = new Float64Array(v);
  let smallest = Number.POSITIVE_INFINITY;
  counts.forEach((count, token) => {
    if (count === 0) return;
    let square = 0;
    for (let i = 0; i < d; i++) {
      const mean = weight[token * d + i]!;
      square += (mean - shift[i]!) * (mean + shift[i]!);
      weight[token * d + i] = mean - shift[i]!;
    }
    bias[token] = (n0 / 2) * Math.log(count / n) - square / 2;
    smallest = Math.min(smallest, bias[token]!);
  });
  const rows = unseen === "copy" ? rowsOf(output, v, d) : null;
  counts.forEach((count, token) => {
    if (count > 0) return;
    bias[token] = smallest;
    if (rows !== null) for (let i = 0; i < d; i++) weight[token * d + i] = rows[token * d + i]! - shift[i]!;
  });
  return tokenHead("class-aware", statistics.norm, weight, bias, statistics.hidden);
}

/** Squares of the states' mean that float32 bears beside their noise: some ten of its 24 bits. */
const MOST_OFFSET = 2 ** 10;

/**
 * What is taken off all class means, [d]: nothing where the paper's weights do; the mean of all states where they have so large a
 * part in common that nothing of the classes' differences would be left of logits in float32. All logits lose the same by it.
 */
function shiftOf(statistics: TokenStatistics, n: number, n0: number): Float64Array {
  const mean = overallMean(statistics, n);
  const square = mean.reduce((sum, value) => sum + value * value, 0);
  return square > MOST_OFFSET * mean.length * Math.max(n0 / 2, 1e-30) ? mean : mean.fill(0);
}

function rowsOf(output: OutputLayer | undefined, v: number, d: number): Float32Array {
  if (output === undefined) {
    throw new InputError(caller, 'unseen: "copy" needs the model\'s output layer', "none", "Pass output.");
  }
  const size = checkOutputLayer(caller, output);
  if (size.v === v && size.d === d) return output.weight.data;
  throw new InputError(caller, `the output layer must be [${v}, ${d}], as the statistics`, `[${size.v}, ${size.d}]`);
}
