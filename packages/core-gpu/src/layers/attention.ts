import { z } from "zod";
import { InputError } from "../errors.ts";
import { parseOptions } from "../options.ts";
import * as ops from "../program/ops/index.ts";
import type { Value } from "../program/value.ts";
import type { Generator } from "../random.ts";
import type { Tensor } from "../tensor.ts";
import { type Initialiser, xavierUniform, zeros } from "./initialisers.ts";
import { initialiser, initLinear, type LinearParameters, linear } from "./linear.ts";

/** Parameters of {@link multiHeadAttention}: query, key and value in one linear [3·d, d], and the output's [d, d]. */
export type AttentionParameters<Leaf = Tensor> = {
  readonly input: Required<LinearParameters<Leaf>>;
  readonly output: Required<LinearParameters<Leaf>>;
};

/** Options of {@link initMultiHeadAttention}. */
export interface InitAttentionOptions {
  /** Features of a token, d. */
  readonly features: number;
  /** How the input's weight [3·d, d] starts. Default `xavierUniform()`, as in PyTorch. */
  readonly initialInput?: Initialiser;
  /** How the output's weight [d, d] starts. Default `pytorchWeight`. Biases start at 0. */
  readonly initialOutput?: Initialiser;
}

/** Options of {@link multiHeadAttention}. */
export interface MultiHeadAttentionOptions {
  /** Number of heads; divides d. */
  readonly heads: number;
  /** Whether a token sees only itself and those before it. Default false. */
  readonly causal?: boolean;
}

const initOptions = z.strictObject({
  features: z.int().min(1),
  initialInput: initialiser.default(() => xavierUniform()),
  initialOutput: initialiser.optional(),
});

const options = z.strictObject({ heads: z.int().min(1), causal: z.boolean().default(false) });

/** First parameters of self-attention, as PyTorch's `MultiheadAttention` starts. @throws InputError on a wrong option. */
export function initMultiHeadAttention(generator: Generator, given: InitAttentionOptions): AttentionParameters {
  const { features, initialInput, initialOutput } = parseOptions(
    "core-gpu.layers.initMultiHeadAttention",
    initOptions,
    given,
  );
  const initial = { initialBias: zeros, ...(initialOutput === undefined ? {} : { initialWeight: initialOutput }) };
  return {
    input: initLinear(generator, { in: features, out: 3 * features, initialWeight: initialInput, initialBias: zeros }),
    output: initLinear(generator, { in: features, out: features, ...initial }),
  };
}

/**
 * Self-attention with several heads: each head takes its part of the d features of query, key and value,
 * `softmax(q · kᵀ ÷ √(d ÷ heads)) · v`, and a linear joins them. x [n, t, d] → [n, t, d].
 *
 * @throws InputError on a wrong option, or where x is not [n, t, d] with heads dividing d.
 */
export function multiHeadAttention(
  params: AttentionParameters<Value>,
  x: Value,
  given: MultiHeadAttentionOptions,
): Value {
  const caller = "core-gpu.layers.multiHeadAttention";
  const { heads, causal } = parseOptions(caller, options, given);
  const [n, t, d] = x.shape;
  if (x.shape.length !== 3 || typeof d !== "number" || d % heads !== 0) {
    const actual = `[${x.shape.join(", ")}] with ${heads} heads`;
    throw new InputError(caller, "x must be [n, t, d], d a multiple of the heads", actual);
  }
  const split = ops.reshape(linear(params.input, x), [n!, t!, 3, heads, d / heads]);
  const byHead = ops.transpose(split, [2, 0, 3, 1, 4]);
  const [queries, keys, values] = ops.split(byHead, [1, 1, 1], 0).map((part) => ops.squeeze(part, 0));
  const attended = ops.attention(queries!, keys!, values!, { causal });
  return linear(params.output, ops.reshape(ops.transpose(attended, [0, 2, 1, 3]), [n!, t!, d]));
}
