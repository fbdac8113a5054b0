import { type Generator, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import type { StateNorm } from "../norms.ts";
import { type TokenHead, tokenHead } from "./token-head.ts";

/** Options of {@link randomUniform}. */
export interface RandomUniformOptions {
  /** v */
  readonly vocabulary: number;
  /** d */
  readonly features: number;
  /** Default `none`. */
  readonly norm?: StateNorm;
}

const schema = z.strictObject({
  vocabulary: z.int().min(2),
  features: z.int().min(1),
  norm: z.enum(["none", "final"]).default("none"),
});

/**
 * Weight and bias uniform in ±1/√d, as PyTorch's `Linear` begins.
 *
 * Source: the baseline "random uniform" of the paper [S]; its bounds [D].
 * @throws InputError on an option that is unknown, missing or out of range.
 */
export function randomUniform(random: Generator, options: RandomUniformOptions): TokenHead {
  const { vocabulary, features, norm } = parseOptions("llm-exit-init.heads.randomUniform", schema, options);
  const bound = 1 / Math.sqrt(features);
  const draw = (length: number) => Float64Array.from({ length }, () => (2 * random.uniform() - 1) * bound);
  return tokenHead("random", norm, draw(vocabulary * features), draw(vocabulary));
}
