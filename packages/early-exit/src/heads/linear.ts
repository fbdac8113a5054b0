import { layers, ops, parseOptions, type Value } from "@exitkit/core-gpu";
import { z } from "zod";
import { type Extra, extraSchema, withExtra } from "./extra.ts";
import { type Head, initLinear, type LinearLayer, refuseShape } from "./head.ts";

/** Options of {@link linear} and {@link mixedPool}, and of `conv` beside its own. */
export interface LinearHeadOptions {
  /** Further inputs of the linear layer. Default: none. */
  readonly extra?: Extra;
}

const optionsSchema = z.strictObject({ extra: extraSchema.optional() });

/**
 * Global average pooling and one linear layer: [n, c, h, w] → [n, c] → [n, k]. Features [n, d] go to the linear layer as
 * they are. c·k MACs. Starts as PyTorch's `Linear`.
 *
 * @throws InputError on an unknown option.
 */
export function linear(options?: LinearHeadOptions): Head {
  const caller = "early-exit.heads.linear";
  const { extra } = parseOptions(caller, optionsSchema, options);
  return {
    name: "linear",
    init(random, shape, classes) {
      if (shape.length !== 1 && shape.length !== 3) refuseShape(caller, "[d] or [c, h, w]", shape);
      return initLinear(random, shape[0]! + (extra?.size ?? 0), classes);
    },
    apply(params, features) {
      const flat = pooled(features);
      return {
        logits: layers.linear(params as LinearLayer<Value>, withExtra(caller, flat, features, extra)),
        updated: {},
      };
    },
  };
}

/** [n, c, h, w] → [n, c]; [n, d] as it is. */
export function pooled(features: Value): Value {
  return features.shape.length === 2 ? features : ops.flatten(ops.globalAveragePool(features));
}
