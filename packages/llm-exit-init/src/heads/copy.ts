import { parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import type { StateNorm } from "../norms.ts";
import { checkOutputLayer, type OutputLayer } from "../output-layer.ts";
import { type TokenHead, tokenHead } from "./token-head.ts";

/** Options of {@link copy}. */
export interface CopyOptions {
  /** Whether the model's final norm comes before it. Default `none`, as in the paper. */
  readonly norm?: StateNorm;
}

const schema = z.strictObject({ norm: z.enum(["none", "final"]).default("none") });

/**
 * The model's own output matrix as a head of its own; bias 0 where the model has none. With `norm: "final"` at the last block it
 * is the model itself.
 *
 * Source: the baseline "copy" of the paper [S]; that it reads the raw state there, and that a tied matrix is untied, is derived
 * [D].
 * @throws InputError on an unknown option, or what is no output layer.
 */
export function copy(output: OutputLayer, options?: CopyOptions): TokenHead {
  const caller = "llm-exit-init.heads.copy";
  const { norm } = parseOptions(caller, schema, options);
  const { v } = checkOutputLayer(caller, output);
  const name = norm === "final" ? "copy+norm" : "copy";
  return tokenHead(name, norm, output.weight.data, output.bias?.data ?? new Float32Array(v));
}
