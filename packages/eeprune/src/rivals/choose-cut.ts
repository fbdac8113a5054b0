import { InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import type { Selection } from "../selection/selection.ts";
import type { Evidence } from "./evidence.ts";
import { type PruneByOptions, pruneBy } from "./prune-by.ts";

/** Options of {@link chooseCut}. */
export interface ChooseCutOptions extends Omit<PruneByOptions, "cut"> {
  /** What is cut: the easiest and the hardest, or the hardest and then evenly. Default `bothEnds`. */
  readonly method?: "bothEnds" | "coverage";
  /** Shares of all samples, in [0, ratio], that may go as the hardest. Default none, an eighth, a quarter and half of the ratio. */
  readonly cuts?: readonly number[];
  /**
   * How good what is kept is, larger is better: trains briefly on it and answers samples that were held out of everything, never test
   * samples. May be asynchronous; it is called once for each cut, one after the other.
   */
  readonly judge: (kept: Int32Array, cut: number) => number | Promise<number>;
}

/** What {@link chooseCut} gives. */
export interface ChosenCut {
  /** What the best cut keeps. */
  readonly selection: Selection;
  readonly cut: number;
  /** All that were tried, with their scores. */
  readonly tried: readonly { readonly cut: number; readonly score: number }[];
}

const caller = "eeprune.chooseCut";

const schema = z.looseObject({
  ratio: z.number().gt(0).lt(1),
  method: z.enum(["bothEnds", "coverage"]).default("bothEnds"),
  cuts: z.array(z.number().min(0).lt(1)).min(1).readonly().optional(),
  judge: z.custom<ChooseCutOptions["judge"]>((value) => typeof value === "function", "must be a function"),
});

/**
 * Splits what is pruned between the easiest samples, which are redundant, and the hardest, which may be noise, by a small check on
 * samples that were held out: the cut whose kept samples are judged best is taken, of equals the smallest.
 *
 * @throws InputError as `pruneBy` does, on a cut above the ratio, or a score that is no number.
 * @example
 * ```ts
 * import { chooseCut, generator, scoreColumns } from "@exitkit/eeprune";
 * import { tensor } from "@exitkit/core-gpu";
 * const labels = Int32Array.from({ length: 40 }, (_, i) => i % 2);
 * const logits = Float32Array.from({ length: 80 }, (_, at) => (at % 2 === labels[at >> 1] ? (at >> 1) / 10 - 1 : 0));
 * const early = scoreColumns(tensor("float32", [40, 2], logits), labels);
 * const { cut, tried } = await chooseCut(
 *   { labels, classes: 2, early },
 *   { ratio: 0.5, cuts: [0, 0.25], generator: generator(1), judge: (kept) => -kept.filter((i) => i < 10).length },
 * );
 * console.assert(cut === 0.25 && tried.length === 2); // whoever finds the first ten samples useless cuts the hardest
 * ```
 */
export async function chooseCut(evidence: Evidence, options: ChooseCutOptions): Promise<ChosenCut> {
  const { ratio, method, cuts = [0, ratio / 8, ratio / 4, ratio / 2], judge } = parseOptions(caller, schema, options);
  const large = cuts.find((cut) => cut > ratio);
  if (large !== undefined) throw new InputError(caller, `cuts must be at most the ratio ${ratio}`, String(large));
  const { method: _, cuts: __, judge: ___, ...rest } = options;
  const tried: { cut: number; score: number; selection: Selection }[] = [];
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    // A stream of its own for each cut, however much the others draw.
    const selection = pruneBy(method, evidence, { ...rest, cut, generator: options.generator.split() });
    const score = await judge(selection.kept, cut);
    if (typeof score !== "number" || Number.isNaN(score)) {
      throw new InputError(caller, "judge must give a number", String(score));
    }
    tried.push({ cut, score, selection });
  }
  const best = tried.reduce((a, b) => (b.score > a.score ? b : a));
  return { selection: best.selection, cut: best.cut, tried: tried.map(({ cut, score }) => ({ cut, score })) };
}
