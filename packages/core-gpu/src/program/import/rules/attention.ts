import { tensor } from "../../../tensor.ts";
import { type Dimension, multiplyDimensions } from "../../dimensions.ts";
import * as ops from "../../ops/index.ts";
import type { Value } from "../../value.ts";
import { type ImportNode, unsupported } from "../node.ts";
import { onlyResults, type Rules } from "./rule.ts";

/** [n, t, heads·d] → [n, heads, t, d]; four dimensions stay. */
function intoHeads(node: ImportNode, index: number, attribute: string): Value {
  const x = node.value(index);
  if (x.shape.length === 4) return x;
  const heads = node.int(attribute, 0);
  const [n, t, width] = x.shape as [Dimension, Dimension, Dimension];
  if (heads === 0 || typeof width !== "number") unsupported(`input ${index} does not say how many heads it has`);
  return ops.transpose(ops.reshape(x, [n, t, heads, width / heads]), [0, 2, 1, 3]);
}

/** Each key or value head repeated for the query heads that share it. */
function repeatHeads(x: Value, heads: Dimension): Value {
  const [n, own, t, d] = x.shape as [Dimension, Dimension, Dimension, Dimension];
  if (own === heads) return x;
  const times =
    typeof own === "number" && typeof heads === "number" ? heads / own : unsupported("its heads are symbolic");
  return ops.reshape(ops.expand(ops.unsqueeze(x, 2), [n, own, times, t, d]), [n, heads, t, d]);
}

function attention(node: ImportNode): Value {
  onlyResults(node, 1);
  if (node.has(4) || node.has(5) || node.has(6)) unsupported("it has a cache of keys and values");
  const q = intoHeads(node, 0, "q_num_heads");
  const heads = q.shape[1]!;
  const k = repeatHeads(intoHeads(node, 1, "kv_num_heads"), heads);
  const v = repeatHeads(intoHeads(node, 2, "kv_num_heads"), heads);
  const width = q.shape[3]!;
  if (typeof width !== "number") unsupported("its width is symbolic");
  const scale = node.float("scale", 0) || 1 / Math.sqrt(width);
  const cap = node.float("softcap", 0);
  const causal = node.int("is_causal", 0) === 1;
  const mask = node.has(3) ? node.value(3) : undefined;
  const merge = (y: Value): Value => {
    if (node.spec(0).shape.length === 4) return y;
    const [n, , t, d] = y.shape as [Dimension, Dimension, Dimension, Dimension];
    return ops.reshape(ops.transpose(y, [0, 2, 1, 3]), [n, t, multiplyDimensions([heads, d])]);
  };
  if (cap === 0 && mask?.dtype !== "bool" && !(causal && q.shape[2] !== k.shape[2])) {
    return merge(ops.attention(q, k, v, { causal, scale, ...(mask === undefined ? {} : { mask }) }));
  }
  let scores = ops.matmul(ops.mul(q, scale), k, { transposeB: true });
  if (cap !== 0) scores = ops.mul(ops.tanh(ops.div(scores, cap)), cap);
  const least = tensor("float32", [], [-3.4028234663852886e38]);
  if (causal) {
    const past = ops.lessOrEqual(ops.iota(k, { axis: 2 }), ops.unsqueeze(ops.iota(q, { axis: 2 }), 1));
    scores = ops.where(past, scores, least);
  }
  if (mask !== undefined) scores = mask.dtype === "bool" ? ops.where(mask, scores, least) : ops.add(scores, mask);
  const probabilities = ops.softmax(scores);
  // A query that may see nothing gets zeros.
  const seen = mask?.dtype === "bool" ? ops.where(mask, probabilities, tensor("float32", [], [0])) : probabilities;
  return merge(ops.matmul(seen, v));
}

/** Rotary positions: tables of cosines and sines, looked up by the tokens' positions where those are given. */
function rotaryEmbedding(node: ImportNode): Value {
  const x = intoHeads(node, 0, "num_heads");
  const width = x.shape[3]!;
  const turned = node.int("rotary_embedding_dim", 0);
  const layout = node.int("interleaved", 0) === 1 ? "pairs" : "half";
  // [max, d/2] with positions, else [n, t, d/2]; either way one axis for the heads is missing.
  const table = (index: number) => {
    const whole = node.value(index);
    return ops.unsqueeze(node.has(3) ? ops.gather(whole, node.value(3)) : whole, 1);
  };
  const turn = (part: Value) => ops.rotaryEmbedding(part, table(1), table(2), { layout });
  const y =
    turned === 0 || turned === width
      ? turn(x)
      : ops.concat([turn(ops.slice(x, { axis: 3, to: turned })), ops.slice(x, { axis: 3, from: turned })], 3);
  if (node.spec(0).shape.length === 4) return y;
  const [n, heads, t, d] = y.shape as [Dimension, Dimension, Dimension, Dimension];
  return ops.reshape(ops.transpose(y, [0, 2, 1, 3]), [n, t, multiplyDimensions([heads, d])]);
}

export const attentions: Rules = {
  Attention: attention,
  RotaryEmbedding: rotaryEmbedding,
};
