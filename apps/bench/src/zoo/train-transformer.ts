import { type Generator, layers, ops, spec, type Value, type ValuesOf } from "@exitkit/core-gpu";
import { defineNetwork, type TrainableNetwork } from "./trainable.ts";

/** How embeddings and positions begin, as in GPT-2 and ViT. */
const initialEmbedding = layers.normal(0, 0.02);

/**
 * A small vision transformer for CIFAR-10: patches of 4×4 pixels, 64 tokens of 192 features, learned positions, 6 pre-norm
 * layers of 3 heads with an MLP of 4 · 192 (exact GELU), a last layer norm, the mean over tokens and a linear layer.
 *
 * Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021.
 * Differs: no class token, the mean over tokens instead.
 */
export function trainableVit(): TrainableNetwork {
  const [patch, side, features, heads, classes] = [4, 8, 192, 3, 10];
  const tokens = side * side;
  const pixels = 3 * patch * patch;
  return defineNetwork({
    name: "vit",
    unit: "pictures",
    classes,
    macs: tokens * pixels * features + macsOfLayers(6, tokens, features) + features * classes,
    inputs: (n) => ({ x: spec("float32", [n, 3, 32, 32]), y: spec("int64", [n]) }),
    init: (random) => ({
      patches: layers.initLinear(random, { in: pixels, out: features }),
      positions: initialEmbedding(random, [tokens, features]),
      layers: Array.from({ length: 6 }, () => initLayer(random, features)),
      norm: layers.initLayerNorm(features),
      head: layers.initLinear(random, { in: features, out: classes }),
    }),
    apply(params, x) {
      const n = x.shape[0]!;
      // One row for each patch, its pixels in the order channel, row, column.
      const split = ops.transpose(ops.reshape(x, [n, 3, side, patch, side, patch]), [0, 2, 4, 1, 3, 5]);
      const embedded = layers.linear(params.patches, ops.reshape(split, [n, tokens, pixels]));
      const out = params.layers.reduce(
        (hidden: Value, layer) => applyLayer(layer, hidden, { heads, causal: false, approximate: "none" }),
        ops.add(embedded, params.positions),
      );
      const pooled = ops.mean(layers.layerNorm(params.norm, out), { axes: [1] });
      return { logits: layers.linear(params.head, pooled), updated: {} };
    },
  });
}

/**
 * A small decoder language model of GPT-2's shape: a vocabulary of 4,096, 512 tokens of 256 features, learned positions, 4
 * pre-norm layers of 4 heads with causal attention and an MLP of 4 · 256 (GELU by tanh), a last layer norm and a linear
 * layer to the vocabulary. Labels: the next token of every token, n · 512 of them.
 *
 * Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
 * Differs: the last layer has weights of its own.
 */
export function trainableDecoder(): TrainableNetwork {
  const [tokens, vocabulary, features, heads] = [512, 4096, 256, 4];
  return defineNetwork({
    name: "decoder",
    unit: "sequences",
    classes: vocabulary,
    macs: macsOfLayers(4, tokens, features) + tokens * features * vocabulary,
    inputs: (n) => ({
      x: spec("int64", [n, tokens]),
      y: spec("int64", [typeof n === "number" ? n * tokens : "rows"]),
    }),
    init: (random) => ({
      tokens: layers.initEmbedding(random, { entries: vocabulary, features, initialWeight: initialEmbedding }),
      positions: initialEmbedding(random, [tokens, features]),
      layers: Array.from({ length: 4 }, () => initLayer(random, features)),
      norm: layers.initLayerNorm(features),
      head: layers.initLinear(random, {
        in: features,
        out: vocabulary,
        bias: false,
        initialWeight: initialEmbedding,
      }),
    }),
    apply(params, x) {
      const out = params.layers.reduce(
        (hidden: Value, layer) => applyLayer(layer, hidden, { heads, causal: true, approximate: "tanh" }),
        ops.add(layers.embedding(params.tokens, x), params.positions),
      );
      const rows = ops.reshape(layers.layerNorm(params.norm, out), [-1, features]);
      return { logits: layers.linear(params.head, rows), updated: {} };
    },
  });
}

type Layer = ValuesOf<ReturnType<typeof initLayer>>;

/** Each layer: 12 · d² for every token, and 2 · d for every pair of tokens. */
function macsOfLayers(count: number, tokens: number, features: number): number {
  return count * tokens * (12 * features * features + 2 * tokens * features);
}

function initLayer(random: Generator, features: number) {
  return {
    norm1: layers.initLayerNorm(features),
    attention: layers.initMultiHeadAttention(random, { features }),
    norm2: layers.initLayerNorm(features),
    mlp: layers.initMlp(random, [features, 4 * features, features]),
  };
}

function applyLayer(
  { norm1, attention, norm2, mlp }: Layer,
  input: Value,
  kind: { readonly heads: number; readonly causal: boolean; readonly approximate: "none" | "tanh" },
): Value {
  const { heads, causal, approximate } = kind;
  const x = ops.add(input, layers.multiHeadAttention(attention, layers.layerNorm(norm1, input), { heads, causal }));
  return ops.add(
    x,
    layers.mlp(mlp, layers.layerNorm(norm2, x), (hidden) => ops.gelu(hidden, { approximate })),
  );
}
