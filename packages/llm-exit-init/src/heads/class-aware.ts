import { InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkOutputLayer, type OutputLayer } from "../output-layer.ts";
import { classMeans, noiseOf, positionsOf } from "../statistics/estimates.ts";
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
 * Differs: nothing on purpose. Not scaled: cross entropy wants `calibrate` after it.
 * @throws InputError on an option that is unknown or out of range, statistics without positions, or `copy` without an output
 * layer of their shape.
 */
export function classAware(statistics: TokenStatistics, options?: ClassAwareOptions): TokenHead {
  const n = positionsOf(caller, statistics);
  const { n0 = noiseOf(statistics), unseen, output } = parseOptions(caller, schema, options);
  const { counts, vocabulary: v, features: d } = statistics;
  const weight = classMeans(statistics);
  const bias = new Float64Array(v);
  let smallest = Number.POSITIVE_INFINITY;
  counts.forEach((count, token) => {
    if (count === 0) return;
    let square = 0;
    for (let i = 0; i < d; i++) square += weight[token * d + i]! ** 2;
    bias[token] = (n0 / 2) * Math.log(count / n) - square / 2;
    smallest = Math.min(smallest, bias[token]!);
  });
  const rows = unseen === "copy" ? rowsOf(output, v, d) : null;
  counts.forEach((count, token) => {
    if (count > 0) return;
    bias[token] = smallest;
    if (rows !== null) weight.set(rows.subarray(token * d, (token + 1) * d), token * d);
  });
  return tokenHead("class-aware", statistics.norm, weight, bias, statistics.hidden);
}

function rowsOf(output: OutputLayer | undefined, v: number, d: number): Float32Array {
  if (output === undefined) {
    throw new InputError(caller, 'unseen: "copy" needs the model\'s output layer', "none", "Pass output.");
  }
  const size = checkOutputLayer(caller, output);
  if (size.v === v && size.d === d) return output.weight.data;
  throw new InputError(caller, `the output layer must be [${v}, ${d}], as the statistics`, `[${size.v}, ${size.d}]`);
}
