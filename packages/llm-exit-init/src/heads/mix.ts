import { parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkAlike, type TokenHead, tokenHead } from "./token-head.ts";

/** Options of {@link mix}. */
export interface MixOptions {
  /** α in [0, 1]: the share of the first head. */
  readonly alpha: number;
  /** `weight`: weights are mixed, the bias stays the first head's; `both`: the biases too. Default `weight`. */
  readonly combineBias?: "weight" | "both";
}

const schema = z.strictObject({
  alpha: z.number().min(0).max(1),
  combineBias: z.enum(["weight", "both"]).default("weight"),
});

/**
 * A convex mix of two heads: `α·W₁ + (1 − α)·W₂`.
 *
 * Source: α·class-aware + (1 − α)·copy or random, α = .6 without freezing, .8 with [S]; that only the weights are mixed is derived
 * from the accuracies at epoch 0, which rise as α falls with a random partner [D].
 * @throws InputError on an option that is unknown, missing or out of range, or heads of different shapes or norms.
 */
export function mix(first: TokenHead, second: TokenHead, options: MixOptions): TokenHead {
  const caller = "llm-exit-init.heads.mix";
  const { alpha, combineBias } = parseOptions(caller, schema, options);
  checkAlike(caller, first, second);
  const combined = (a: Float32Array, b: Float32Array) =>
    Float64Array.from(a, (value, at) => alpha * value + (1 - alpha) * b[at]!);
  const bias = combineBias === "both" ? combined(first.bias.data, second.bias.data) : first.bias.data;
  const share = Math.round(100 * (1 - alpha)) / 100;
  const name = `${alpha} ${first.name} + ${share} ${second.name}`;
  return tokenHead(name, first.norm, combined(first.weight.data, second.weight.data), bias, first.hidden);
}
