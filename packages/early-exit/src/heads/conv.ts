import { layers, ops, parseOptions, type Tensor, type Value } from "@exitkit/core-gpu";
import { z } from "zod";
import { extraSchema, withExtra } from "./extra.ts";
import { type Head, initLinear, type LinearLayer, refuseShape } from "./head.ts";
import { type ExtraOptions, pooled } from "./linear.ts";

/** Options of {@link conv}. */
export interface ConvHeadOptions extends ExtraOptions {
  /** Channels that the convolution makes, c′. */
  readonly channels: number;
}

/** Parameters of {@link conv}. */
type ConvHead<Leaf = Tensor> = {
  readonly conv: { readonly weight: Leaf };
  readonly norm: layers.BatchNormParameters<Leaf>;
  readonly linear: LinearLayer<Leaf>;
};

const optionsSchema = z.strictObject({ channels: z.int().min(1), extra: extraSchema.optional() });

/**
 * A convolution in front of the linear layer: 3×3 without bias, batch norm, ReLU, global average pooling, linear.
 * [n, c, h, w] → [n, c′, h, w] → [n, c′] → [n, k]; 9·c·c′·h·w + c′·k MACs. The convolution starts Kaiming-normal, the
 * rest as in PyTorch. The running statistics are the head's own and follow its batches also where the backbone is frozen.
 *
 * @throws InputError on an option that is unknown, missing or out of range; features that are not [n, c, h, w].
 */
export function conv(options: ConvHeadOptions): Head {
  const caller = "early-exit.heads.conv";
  const { channels, extra } = parseOptions(caller, optionsSchema, options);
  return {
    name: `conv ${channels}`,
    init(random, shape, classes): ConvHead {
      if (shape.length !== 3) refuseShape(caller, "[c, h, w]", shape);
      const initialWeight = layers.kaimingNormal();
      return {
        conv: layers.initConv(random, { in: shape[0]!, out: channels, kernel: 3, bias: false, initialWeight }),
        norm: layers.initBatchNorm(channels),
        linear: initLinear(random, channels + (extra?.size ?? 0), classes),
      };
    },
    apply(given, features, training) {
      const params = given as ConvHead<Value>;
      const convolved = ops.conv(features, params.conv.weight, { padding: 1 });
      const { y, updated } = layers.batchNorm(params.norm, convolved, { training });
      const flat = withExtra(caller, pooled(ops.relu(y)), features, extra);
      return { logits: layers.linear(params.linear, flat), updated: training ? { norm: updated } : {} };
    },
  };
}
