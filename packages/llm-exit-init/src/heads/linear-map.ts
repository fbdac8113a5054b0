import { type Device, InputError, parseOptions, tensor } from "@exitkit/core-gpu";
import { z } from "zod";
import { inverse } from "../linear-algebra/inverse.ts";
import { matmul } from "../linear-algebra/matmul.ts";
import { checkOutputLayer, type OutputLayer } from "../output-layer.ts";
import { overallMean, positionsOf } from "../statistics/estimates.ts";
import type { CrossSums, TokenStatistics } from "../statistics/token-statistics.ts";
import { type TokenHead, tokenHead } from "./token-head.ts";

/** Options of {@link linearMap}. */
export interface LinearMapOptions {
  /** Ridge λ > 0, in units of the mean variance of a feature. Default 1e-3. */
  readonly ridge?: number;
}

const caller = "llm-exit-init.heads.linearMap";
const schema = z.strictObject({ ridge: z.number().positive().default(1e-3) });

/**
 * Guesses the last state from this one and lets the model's own output matrix read it. A [d, d′] and c [d′] minimise
 * `Σ ‖z − (x·A + c)‖² + λ·N·s²·‖A‖²` with z the last state after the final norm and s² the mean variance of a feature of x;
 * `weight = E·Aᵀ`, `bias = E·c + b`. Its own numbers are A and c, d·d′ + d′; it needs some 50·d tokens and meets no unseen one.
 *
 * Source: not the paper's. Known as a "tuned lens" where it is trained by gradients (Belrose et al., 2023); here least squares
 * from one pass.
 * @param statistics With `cross` sums; `norm: "final"` predicts better than raw states.
 * @throws InputError on an option that is unknown or out of range, statistics without Gram matrix or cross sums, or an output
 * layer of another width.
 */
export async function linearMap(
  device: Device,
  statistics: TokenStatistics,
  output: OutputLayer,
  options?: LinearMapOptions,
): Promise<TokenHead> {
  const { ridge } = parseOptions(caller, schema, options);
  const n = positionsOf(caller, statistics);
  const { v, d: last } = checkOutputLayer(caller, output);
  const { gram, cross, features: d } = statistics;
  if (gram === null || cross === null) {
    const missing = gram === null ? "no Gram matrix" : "no cross sums";
    const fix = "Accumulate with gram: true and cross: true, and pass last states.";
    throw new InputError(caller, "statistics with a Gram matrix and cross sums are needed", missing, fix);
  }
  if (last !== cross.features || v !== statistics.vocabulary) {
    const expectation = `the output layer must be [${statistics.vocabulary}, ${cross.features}], as the statistics`;
    throw new InputError(caller, expectation, `[${v}, ${last}]`);
  }
  const { matrix, offset } = await solve(device, gram, cross, overallMean(statistics, n), n, ridge, d);
  const embedding = tensor("float64", [v, last], Float64Array.from(output.weight.data));
  const weight = await matmul(device, embedding, matrix, { transposeB: true });
  const bias = Float64Array.from({ length: v }, (_, token) => {
    let sum = output.bias?.data[token] ?? 0;
    for (let j = 0; j < last; j++) sum += embedding.data[token * last + j]! * offset[j]!;
    return sum;
  });
  return tokenHead("linear map", statistics.norm, weight.data, bias, statistics.hidden);
}

/** A = (S_xx + λ·N·s²·I)⁻¹ S_xz of centred sums, and c = z̄ − x̄·A. */
async function solve(
  device: Device,
  gram: Float64Array,
  cross: CrossSums,
  mean: Float64Array,
  n: number,
  ridge: number,
  d: number,
) {
  const last = cross.features;
  const centred = gram.map((value, at) => value - n * mean[Math.floor(at / d)]! * mean[at % d]!);
  let variance = 0;
  for (let i = 0; i < d; i++) variance += centred[i * d + i]! / d;
  for (let i = 0; i < d; i++) centred[i * d + i]! += ridge * variance;
  const products = cross.products.map((value, at) => value - mean[Math.floor(at / last)]! * cross.sums[at % last]!);
  const matrix = await matmul(
    device,
    tensor("float64", [d, d], inverseOf(centred, d, n)),
    tensor("float64", [d, last], products),
  );
  const offset = cross.sums.map((sum) => sum / n);
  for (let i = 0; i < d; i++) for (let j = 0; j < last; j++) offset[j]! -= mean[i]! * matrix.data[i * last + j]!;
  return { matrix, offset };
}

function inverseOf(matrix: Float64Array, d: number, n: number): Float64Array {
  try {
    return inverse(matrix, d);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new InputError(caller, "states must vary", `${n} positions that do not`, "Use more text.", error);
  }
}
