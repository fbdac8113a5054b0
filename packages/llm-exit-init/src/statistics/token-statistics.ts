import { type ArgumentKind, checkArguments, InputError } from "@exitkit/core-gpu";
import { type HiddenUnits, sameHidden } from "../hidden-units.ts";
import type { StateNorm } from "../norms.ts";

/** Sums of the last state, beside those of the tap's, for the linear map. */
export interface CrossSums {
  /** d′: features of the last state. */
  readonly features: number;
  /** Σ z, [d′]. */
  readonly sums: Float64Array;
  /** Σ ‖z‖² */
  readonly squares: number;
  /** Σ x zᵀ, row-major [d, d′]. */
  readonly products: Float64Array;
}

/** Sums over token positions at one tap: all that the closed-form heads need. Float64 throughout, mergeable, plain data. */
export interface TokenStatistics {
  /** What the states are of, for people and against mixing: a tap's name, a model's hash, as the caller likes. */
  readonly source: string;
  /** What was done to a state before it was summed up. */
  readonly norm: StateNorm;
  /** What is added to a normed state before it is summed up; null: nothing. */
  readonly hidden: HiddenUnits | null;
  /** v */
  readonly vocabulary: number;
  /** d, hidden units included. */
  readonly features: number;
  /** |S_u|: positions whose next token is u, [v]. */
  readonly counts: Float64Array;
  /** Σ_{i∈S_u} x_i, row-major [v, d]. */
  readonly sums: Float64Array;
  /** Σ ‖x‖² over all positions. */
  readonly squares: number;
  /** Σ x xᵀ, row-major [d, d]; null where it was not asked for. */
  readonly gram: Float64Array | null;
  /** null where the last state was not given. */
  readonly cross: CrossSums | null;
}

/** What an argument must be that holds statistics of tokens. */
export const TOKENS: ArgumentKind = {
  source: "a string",
  vocabulary: "a number",
  features: "a number",
  counts: "numbers or bigints",
  sums: "numbers or bigints",
};

/**
 * Bytes that statistics take: 8·(v·d + v), and 8·(d² + d·d′ + d′) with Gram matrix and cross sums. They do not grow with the
 * text. GPT-2 (v 50,257, d 768) takes 309 MB, SmolLM2-135M (v 49,152, d 576) 227 MB, stories260K (v 512, d 64) .3 MB.
 */
export function statisticsBytes(vocabulary: number, features: number, last: number | null = features): number {
  checkArguments("llm-exit-init.statisticsBytes", {
    vocabulary: [vocabulary, "a number"],
    features: [features, "a number"],
  });
  const cross = last === null ? 0 : features * last + last;
  return 8 * (vocabulary * features + vocabulary + features * features + cross);
}

/** Statistics of no text yet. */
export function emptyStatistics(like: {
  readonly source: string;
  readonly norm: StateNorm;
  readonly hidden: HiddenUnits | null;
  readonly vocabulary: number;
  readonly features: number;
  readonly gram: boolean;
  /** d′, or null for no cross sums. */
  readonly last: number | null;
}): TokenStatistics {
  const { source, norm, hidden, vocabulary, features, gram, last } = like;
  return {
    source,
    norm,
    hidden,
    vocabulary,
    features,
    counts: new Float64Array(vocabulary),
    sums: new Float64Array(vocabulary * features),
    squares: 0,
    gram: gram ? new Float64Array(features * features) : null,
    cross:
      last === null
        ? null
        : {
            features: last,
            sums: new Float64Array(last),
            squares: 0,
            products: new Float64Array(features * last),
          },
  };
}

/**
 * Adds two shards' statistics: all of them are sums over positions, so the merge is what one pass over both texts gives, up
 * to the rounding of float64 sums.
 *
 * @throws InputError when the shards are of different sources, norms, vocabularies or features, or keep different sums.
 * @example
 * ```ts
 * import { openDevice, tensor } from "@exitkit/core-gpu";
 * import { accumulateTokens, mergeTokens } from "@exitkit/llm-exit-init";
 * const device = await openDevice("cpu");
 * const states = tensor("float32", [1, 3, 2], [9, 9, 1, 2, 3, 4]);
 * const shard = await accumulateTokens(device, [{ states, tokens: [0, 1, 0] }], { vocabulary: 2, skip: 0 });
 * const both = mergeTokens(shard, shard);
 * console.assert(both.counts.join() === "2,2" && both.squares === 2 * shard.squares);
 * await device.close();
 * ```
 */
export function mergeTokens(a: TokenStatistics, b: TokenStatistics): TokenStatistics {
  const caller = "llm-exit-init.mergeTokens";
  checkArguments(caller, { a: [a, TOKENS], b: [b, TOKENS] });
  const same = (what: string, left: unknown, right: unknown) => {
    if (left === right) return;
    throw new InputError(caller, `both shards must have the same ${what}`, `${String(left)} and ${String(right)}`);
  };
  same("source", a?.source, b?.source);
  same("norm", a.norm, b.norm);
  same("hidden units", true, sameHidden(a.hidden, b.hidden));
  same("vocabulary", a.vocabulary, b.vocabulary);
  same("features", a.features, b.features);
  same("Gram matrix (kept or not)", a.gram === null, b.gram === null);
  same("last state's features", a.cross?.features, b.cross?.features);
  return {
    ...a,
    counts: added(a.counts, b.counts),
    sums: added(a.sums, b.sums),
    squares: a.squares + b.squares,
    gram: a.gram === null || b.gram === null ? null : added(a.gram, b.gram),
    cross:
      a.cross === null || b.cross === null
        ? null
        : {
            features: a.cross.features,
            sums: added(a.cross.sums, b.cross.sums),
            squares: a.cross.squares + b.cross.squares,
            products: added(a.cross.products, b.cross.products),
          },
  };
}

function added(left: Float64Array, right: Float64Array): Float64Array {
  return left.map((value, index) => value + right[index]!);
}
