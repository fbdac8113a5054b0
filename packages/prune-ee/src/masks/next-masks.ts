import { type Generator, InputError, parseOptions, tensor } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkedMasks, countKept, type Masks } from "./masks.ts";

/** For each weight, by its path, how much each element matters: float32 `[shape]`, higher stays longer. */
export type Scores = ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float32Array }>;

/** Options of {@link nextMasks}. */
export interface NextMasksOptions {
  /** Share of the elements that are left which goes, in (0, 1). 0.1 is a tenth of what is left. */
  readonly fraction: number;
  /**
   * `global`: all weights are ranked in one list, so that layers keep what matters to the network; `perLayer`: each weight loses the
   * same share. Default `global`.
   */
  readonly budget?: "global" | "perLayer";
  /** Seeded; which of equally scored elements go. */
  readonly random: Generator;
}

/** What {@link nextMasks} gives. */
export interface NextMasks {
  readonly masks: Masks;
  /** Paths of weights that would have lost every element, and kept the highest scored one. */
  readonly keptOne: readonly string[];
}

const schema = z.strictObject({
  fraction: z.number().gt(0).lt(1),
  budget: z.enum(["global", "perLayer"]).default("global"),
  random: z.custom<Generator>((value) => typeof (value as Generator | undefined)?.permutation === "function", {
    message: "must be a generator, e.g. generator(1) of core-gpu",
  }),
});

/**
 * One round of pruning: of the elements that are left, `round(fraction · left)` with the lowest scores go, half rounded to even.
 * After r rounds about `(1 − fraction)^r` are left. What was pruned before stays pruned. Equal scores go at random, so that no
 * layer loses more than its share because it stands first.
 *
 * @param scores Of every weight to prune in this round.
 * @param before Earlier masks; those of weights without scores are handed on. Default: nothing is pruned.
 * @throws InputError on no scores, a NaN score, a mask of another shape, or an option that is unknown or out of range.
 * Source: pruning rounds of the paper, a tenth of what is left, over all layers together [D: 1 − 0.9²⁰ = .8784 is the measured
 * bars' weighted sum .8776]; rounding as `torch.nn.utils.prune`.
 * @example
 * ```ts
 * import { generator } from "@exitkit/core-gpu";
 * import { nextMasks } from "@exitkit/prune-ee";
 * const scores = new Map([["conv.weight", { shape: [2, 2], data: Float32Array.of(0.3, 0.1, 0.4, 0.2) }]]);
 * const { masks } = nextMasks(scores, {}, { fraction: 0.5, random: generator(1) });
 * console.assert(masks["conv.weight"]!.data.join() === "1,0,1,0");
 * ```
 */
export function nextMasks(scores: Scores, before: Masks, options: NextMasksOptions): NextMasks {
  const caller = "prune-ee.nextMasks";
  const { fraction, budget, random } = parseOptions(caller, schema, options);
  if (!(scores instanceof Map) || scores.size === 0) {
    throw new InputError(caller, "scores must be a map with at least one weight", String(scores), "See magnitude().");
  }
  checkedMasks(caller, before);
  const weights = [...scores].map(([path, { shape, data }]) => leftOf(caller, path, shape, data, before));
  const groups = budget === "global" ? [weights] : weights.map((weight) => [weight]);
  for (const group of groups) pruneLowest(group, fraction, random);
  const keptOne = weights.filter(({ mask }) => countKept(mask) === 0);
  for (const { mask, scores, left } of keptOne) mask.data[highest(scores, left)] = 1;
  return {
    masks: { ...before, ...Object.fromEntries(weights.map(({ path, mask }) => [path, mask])) },
    keptOne: keptOne.map(({ path }) => path),
  };
}

interface Left {
  readonly path: string;
  readonly scores: Float32Array;
  /** Indices of the elements that were left before this round. */
  readonly left: Int32Array;
  readonly mask: Masks[string];
}

function leftOf(caller: string, path: string, shape: readonly number[], scores: Float32Array, before: Masks): Left {
  const bad = scores.findIndex(Number.isNaN);
  if (bad >= 0) throw new InputError(caller, `scores of "${path}" must be numbers`, `NaN at element ${bad}`);
  const earlier = before[path];
  if (earlier !== undefined && earlier.shape.join() !== shape.join()) {
    throw new InputError(caller, `the earlier mask of "${path}" must be [${shape}]`, `[${earlier.shape}]`);
  }
  const data = earlier === undefined ? new Uint8Array(scores.length).fill(1) : earlier.data.slice();
  const left = Int32Array.from(data.keys()).filter((at) => data[at] === 1);
  return { path, scores, left, mask: tensor("bool", shape, data) };
}

/** Clears the lowest scored `round(fraction · left)` elements of some weights taken together. */
function pruneLowest(weights: readonly Left[], fraction: number, random: Generator): void {
  const total = weights.reduce((sum, { left }) => sum + left.length, 0);
  const going = halfToEven(fraction * total);
  if (going === 0) return;
  const ranked = new Float32Array(total);
  let at = 0;
  for (const { scores, left } of weights) for (const index of left) ranked[at++] = scores[index]!;
  ranked.sort();
  const bar = ranked[going - 1]!;
  const ties: (readonly [Left, number])[] = [];
  let gone = 0;
  for (const weight of weights) {
    for (const index of weight.left) {
      const score = weight.scores[index]!;
      if (score < bar) {
        weight.mask.data[index] = 0;
        gone++;
      } else if (score === bar) ties.push([weight, index]);
    }
  }
  const order = random.permutation(ties.length);
  for (const tie of order.subarray(0, going - gone)) {
    const [weight, index] = ties[tie]!;
    weight.mask.data[index] = 0;
  }
}

function highest(scores: Float32Array, among: Int32Array): number {
  return among.reduce((best, at) => (scores[at]! > scores[best]! ? at : best), among[0]!);
}

/** Rounds as Python does, and so `torch.nn.utils.prune`. */
function halfToEven(value: number): number {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value);
}
