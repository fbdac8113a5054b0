import { ops, type Tensor, type Value } from "@exitkit/core-gpu";
import { type Backbone, makeBackbone } from "./backbone.ts";
import { foldedConv, type Weights, weightOf } from "./weights.ts";

const EPSILON = 1e-3;

/** The convolutions and, of those that have one, the batch norm behind. */
const LAYERS: readonly (readonly [conv: string, norm?: string])[] = [
  ["conv2d", "batch_normalization"],
  ["conv2d_1", "batch_normalization_1"],
  ["conv2d_2", "batch_normalization_2"],
  ["conv2d_3", "batch_normalization_3"],
  ["conv2d_4", "batch_normalization_4"],
  ["conv2d_5"],
  ["conv2d_6", "batch_normalization_5"],
  ["conv2d_7", "batch_normalization_6"],
  ["conv2d_8"],
];

/** The convolutions of a block; the last is that of its shortcut, where it has one. */
const BLOCKS = [
  ["conv2d_1", "conv2d_2"],
  ["conv2d_3", "conv2d_4", "conv2d_5"],
  ["conv2d_6", "conv2d_7", "conv2d_8"],
] as const;

/**
 * MLPerf Tiny's ResNet-8 on pixels from 0 to 255: a stem and a block each of 16, 32 and 64 channels, the second and third
 * beginning with stride 2 and padded right and below only, as TensorFlow does. Batch norms are folded.
 *
 * @param weights Names of the Keras file, see assets/weights/SOURCE.md.
 * @throws InputError on a missing weight.
 */
export function resnet8(weights: Weights): Backbone {
  const caller = "bench.resnet8";
  const used: Record<string, Tensor> = {};
  const asItIs = (layer: string) => {
    for (const name of [`${layer}.weight`, `${layer}.bias`]) used[name] = weightOf(caller, weights, name);
  };
  for (const [conv, norm] of LAYERS) {
    if (norm === undefined) asItIs(conv);
    else Object.assign(used, foldedConv(caller, weights, conv, norm, EPSILON));
  }
  asItIs("dense");
  return makeBackbone({ name: "resnet8", exitsAfter: [1, 2] }, used, (input, w) => {
    const conv = (x: Value, name: string, stride = 1): Value => {
      const weight = w[`${name}.weight`]!;
      const bias = w[`${name}.bias`]!;
      if (weight.shape[2] === 1) return ops.conv(x, weight, { bias, stride });
      const padding =
        stride === 1
          ? 1
          : ([
              [0, 1],
              [0, 1],
            ] as const);
      return ops.conv(x, weight, { bias, stride, padding });
    };
    let x = ops.relu(conv(input, "conv2d"));
    const blocks = [x];
    for (const [first, second, shortcut] of BLOCKS) {
      const stride = shortcut === undefined ? 1 : 2;
      const y = conv(ops.relu(conv(x, first, stride)), second);
      x = ops.relu(ops.add(y, shortcut === undefined ? x : conv(x, shortcut, 2)));
      blocks.push(x);
    }
    const features = ops.flatten(ops.globalAveragePool(x));
    return { logits: ops.linear(features, w["dense.weight"]!, w["dense.bias"]!), blocks };
  });
}
