import { InputError, layers, ops, parseOptions, type Value } from "@exitkit/core-gpu";
import { z } from "zod";
import { type Extra, extraSchema, withExtra } from "./extra.ts";
import { type Head, initLinear, type LinearLayer, refuseShape } from "./head.ts";

/** Options that every head with a linear layer has. */
export interface ExtraOptions {
  /** Further inputs of the linear layer. Default: none. */
  readonly extra?: Extra;
}

/**
 * What a head reads of token features [n, t, d]: their `mean`, [n, d]; the `first`, [n, d], where a network has a class token there;
 * or `each`, [n, t, d], so that every token is answered, [n, t, k].
 */
export type Tokens = "mean" | "first" | "each";

/** Options of {@link linear}. */
export interface LinearHeadOptions extends ExtraOptions {
  /** What is read of features [n, t, d]; needed for them, and no other features may come with it. Default: none. */
  readonly tokens?: Tokens;
}

const optionsSchema = z.strictObject({
  extra: extraSchema.optional(),
  tokens: z.enum(["mean", "first", "each"]).optional(),
});

/**
 * Pooling and one linear layer. Features [n, c, h, w] are averaged over h and w: [n, c] → [n, k]. Features [n, d] go to the linear
 * layer as they are. Of tokens [n, t, d], as a transformer has them, {@link LinearHeadOptions.tokens} says what is read. c·k or
 * d·k MACs; t·d·k with `each`. Starts as PyTorch's `Linear`.
 *
 * @throws InputError on an unknown option, or `extra` with `tokens: "each"`.
 * @example
 * ```ts
 * import { generator } from "@exitkit/core-gpu";
 * import { heads } from "@exitkit/early-exit";
 * // 65 tokens of 192 features, the class token first.
 * const { weight } = heads.linear({ tokens: "first" }).init(generator(1), [65, 192], 10);
 * console.assert("shape" in weight! && String(weight.shape) === "10,192");
 * ```
 */
export function linear(options?: LinearHeadOptions): Head {
  const caller = "early-exit.heads.linear";
  const { extra, tokens } = parseOptions(caller, optionsSchema, options);
  if (tokens === "each" && extra !== undefined) {
    throw new InputError(caller, 'extra goes with one row a sample, not with tokens: "each"', "both");
  }
  return {
    name: tokens === undefined ? "linear" : `linear, ${tokens} token${tokens === "mean" ? "s" : ""}`,
    init(random, shape, classes) {
      if (tokens === undefined && shape.length === 2) {
        const fix = 'Say what to read of tokens [t, d]: tokens: "mean", "first" (the class token) or "each".';
        refuseShape(caller, "[d] or [c, h, w]", shape, fix);
      }
      if (tokens === undefined && shape.length !== 1 && shape.length !== 3)
        refuseShape(caller, "[d] or [c, h, w]", shape);
      if (tokens !== undefined && shape.length !== 2) refuseShape(caller, `[t, d] with tokens: "${tokens}"`, shape);
      return initLinear(random, shape[tokens === undefined ? 0 : 1]! + (extra?.size ?? 0), classes);
    },
    apply(params, features) {
      const flat = tokens === undefined ? pooled(features) : tokensOf(features, tokens);
      return {
        logits: layers.linear(params as LinearLayer<Value>, withExtra(caller, flat, features, extra)),
        updated: {},
      };
    },
  };
}

/** [n, t, d] → [n, d], or as it is. */
function tokensOf(features: Value, tokens: Tokens): Value {
  if (tokens === "mean") return ops.mean(features, { axes: 1 });
  return tokens === "each" ? features : ops.squeeze(ops.slice(features, { axis: 1, from: 0, to: 1 }), 1);
}

/** [n, c, h, w] → [n, c]; [n, d] as it is. */
export function pooled(features: Value): Value {
  return features.shape.length === 2 ? features : ops.flatten(ops.globalAveragePool(features));
}
