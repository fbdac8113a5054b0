import { layers, ops, parseOptions, type TreeRecord, tensor, type Value } from "@exitkit/core-gpu";
import { z } from "zod";
import { extraSchema, withExtra } from "./extra.ts";
import { type Head, initLinear, type LinearLayer, refuseShape } from "./head.ts";
import type { ExtraOptions } from "./linear.ts";

/** Options of {@link mixedPool}. */
export interface MixedPoolOptions extends ExtraOptions {
  /** Places that remain on each side, g. Default 4. */
  readonly grid?: number;
}

const optionsSchema = z.strictObject({ grid: z.int().min(1).default(4), extra: extraSchema.optional() });

/**
 * Shallow-Deep Networks' internal classifier: `linear(flatten(a·max + (1 − a)·avg))`, maximum and mean over windows of
 * ⌊h ÷ g⌋ × ⌊w ÷ g⌋ that do not overlap, a learned. [n, c, h, w] → [n, c, g, g] → [n, k]; where g does not divide a side
 * more places remain, as there. Features of sides below g, or between g and 2g, are not pooled and have no a. About
 * c·g²·k MACs. The linear layer starts as PyTorch's, a uniform in [0, 1).
 *
 * Source: Kaya, Hong, Dumitraş, Shallow-Deep Networks (ICML 2019) [S: the authors' code, `InternalClassifier`].
 * Differs: sides may differ; a window of one place is left out with its a, which changes nothing then.
 * @throws InputError on an option that is unknown or out of range; features that are not [n, c, h, w].
 */
export function mixedPool(options?: MixedPoolOptions): Head {
  const caller = "early-exit.heads.mixedPool";
  const { grid, extra } = parseOptions(caller, optionsSchema, options);
  return {
    name: `mixedPool ${grid}×${grid}`,
    init(random, shape, classes) {
      if (shape.length !== 3) refuseShape(caller, "[c, h, w]", shape);
      const [c, ...sides] = shape as [number, number, number];
      const window = windowOf(sides, grid);
      const places = sides.reduce((product, side, axis) => product * Math.floor(side / window[axis]!), 1);
      const mix = tensor("float32", [1], [random.uniform()]);
      const layer = initLinear(random, c * places + (extra?.size ?? 0), classes);
      return isPooled(window) ? { mix, linear: layer } : { linear: layer };
    },
    apply(params, features) {
      const window = windowOf(features.shape.slice(2) as number[], grid);
      const mixed = isPooled(window) ? mix(params, features, window) : features;
      const flat = withExtra(caller, ops.flatten(mixed), features, extra);
      return { logits: layers.linear(params.linear as LinearLayer<Value>, flat), updated: {} };
    },
  };
}

function mix(params: TreeRecord<Value>, features: Value, kernel: readonly number[]): Value {
  const share = params.mix as Value;
  const maximum = ops.mul(ops.maxPool(features, { kernel }), share);
  return ops.add(maximum, ops.mul(ops.averagePool(features, { kernel }), ops.sub(1, share)));
}

function windowOf(sides: readonly number[], grid: number): readonly number[] {
  return sides.map((side) => Math.max(1, Math.floor(side / grid)));
}

function isPooled(window: readonly number[]): boolean {
  return window.some((size) => size > 1);
}
