import { layers, ops, type Tensor, type Value } from "@exitkit/core-gpu";
import type { DecoderConfig, NormConfig } from "./config.ts";
import { type Angles, turned } from "./positions.ts";

/** Weight [d], and a bias [d] where the norm has one. */
export type NormParameters<Leaf = Tensor> = {
  readonly weight: Leaf;
  readonly bias?: Leaf;
};

/** Parameters of one block; linear weights are [out, in]. */
export type BlockParameters<Leaf = Tensor> = {
  readonly norm1: NormParameters<Leaf>;
  readonly attention: {
    readonly query: layers.LinearParameters<Leaf>;
    readonly key: layers.LinearParameters<Leaf>;
    readonly value: layers.LinearParameters<Leaf>;
    readonly output: layers.LinearParameters<Leaf>;
  };
  readonly norm2: NormParameters<Leaf>;
  readonly mlp: {
    readonly gate?: layers.LinearParameters<Leaf>;
    readonly up: layers.LinearParameters<Leaf>;
    readonly down: layers.LinearParameters<Leaf>;
  };
};

/** What is the same for every block of a pass. */
export interface Surroundings {
  /** Null where positions are learned. */
  readonly angles: Angles | null;
  /** bool [n, 1, t, t]; undefined where every position holds a token. */
  readonly seen: Value | undefined;
}

/** x [..., d] normalised over d. */
export function normalised({ kind, epsilon }: NormConfig, params: NormParameters<Value>, x: Value): Value {
  return kind === "rms"
    ? ops.rmsNorm(x, params.weight, { epsilon })
    : ops.layerNorm(x, params.weight, params.bias!, { epsilon });
}

/**
 * One block: x [n, t, d] → [n, t, d]. One after the other, `y = x + attention(norm1(x))`, `y + mlp(norm2(y))`; or, where
 * both read the same state, `x + attention(norm1(x)) + mlp(norm2(x))`.
 */
export function applyBlock(
  config: DecoderConfig,
  params: BlockParameters<Value>,
  x: Value,
  around: Surroundings,
): Value {
  const { norm, parallel } = config;
  const attended = ops.add(x, attention(config, params.attention, normalised(norm, params.norm1, x), around));
  return ops.add(attended, mlp(config, params.mlp, normalised(norm, params.norm2, parallel ? x : attended)));
}

/** Causal self-attention; each key and value head serves heads ÷ keyHeads query heads. */
function attention(
  { heads, keyHeads, headWidth, positions }: DecoderConfig,
  params: BlockParameters<Value>["attention"],
  x: Value,
  { angles, seen }: Surroundings,
): Value {
  const [n, t] = x.shape as [Value["shape"][number], Value["shape"][number]];
  const intoHeads = (part: layers.LinearParameters<Value>, count: number): Value =>
    ops.transpose(ops.reshape(layers.linear(part, x), [n, t, count, headWidth]), [0, 2, 1, 3]);
  const turn = (part: Value): Value => (positions.kind === "rotary" ? turned(part, angles!, positions.layout) : part);
  const shared = (part: Value): Value => {
    if (keyHeads === heads) return part;
    const times = heads / keyHeads;
    const repeated = ops.expand(ops.unsqueeze(part, 2), [n, keyHeads, times, t, headWidth]);
    return ops.reshape(repeated, [n, heads, t, headWidth]);
  };
  const queries = turn(intoHeads(params.query, heads));
  const keys = shared(turn(intoHeads(params.key, keyHeads)));
  const values = shared(intoHeads(params.value, keyHeads));
  const mask = seen === undefined ? {} : { mask: seen };
  const attended = ops.attention(queries, keys, values, { causal: true, ...mask });
  const joined = ops.reshape(ops.transpose(attended, [0, 2, 1, 3]), [n, t, heads * headWidth]);
  return layers.linear(params.output, joined);
}

const activations = {
  silu: (x: Value): Value => ops.silu(x),
  relu: (x: Value): Value => ops.relu(x),
  gelu: (x: Value): Value => ops.gelu(x),
  geluTanh: (x: Value): Value => ops.gelu(x, { approximate: "tanh" }),
} as const;

/** `down(activation(gate(x)) · up(x))`, or without a gate `down(activation(up(x)))`. */
function mlp({ activation }: DecoderConfig, { gate, up, down }: BlockParameters<Value>["mlp"], x: Value): Value {
  const activate = activations[activation];
  const hidden =
    gate === undefined
      ? activate(layers.linear(up, x))
      : ops.mul(activate(layers.linear(gate, x)), layers.linear(up, x));
  return layers.linear(down, hidden);
}
