import { type Generator, InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { byId } from "../columns/by-id.ts";
import { type Column, integers, type Reals, reals } from "../columns/column.ts";
import { balanceOption, generatorOption, ratioOption, vanishingOption } from "../options.ts";
import { type Balance, groupsOf, nameWith, rowsWith } from "../selection/groups.ts";
import { markLargest } from "../selection/mark-largest.ts";
import { countOf, type Selection, selectionOf, type Vanishing } from "../selection/selection.ts";

/** What an early-exit network says about its training samples. All columns `[n]`, of the same samples in the same order. */
export interface EarlyExitColumns {
  /** The class of each sample, 0 … k − 1. */
  readonly labels: Column;
  /** What the early exit answers, 0 … k − 1. */
  readonly earlyPrediction: Column;
  /** What the final exit answers, 0 … k − 1. */
  readonly finalPrediction: Column;
  /** The largest probability at the early exit, in [0, 1]. */
  readonly earlyConfidence: Column;
  /** The cross-entropy at the early exit, ≥ 0; only the variant `loss` reads it. */
  readonly earlyLoss?: Column;
  /** A whole number that names the sample, each once. Default: the row. */
  readonly ids?: Column;
}

/** What happens where fewer samples meet the criterion than are to go. */
export type Shortfall = "stop" | "fillByEarlyConfidence" | "trainLonger";

/** Options of {@link pruneByEarlyExit}. */
export interface PruneOptions {
  /** k */
  readonly classes: number;
  /** The share of all samples that goes, in (0, 1). Either this or `threshold`. */
  readonly ratio?: number;
  /** T in [0, 1): what meets the criterion with a confidence above it goes. Either this or `ratio`. */
  readonly threshold?: number;
  /**
   * Where fewer samples meet the criterion than `ratio` asks for, which is always said in the warnings:
   * - `stop` (default): only those go.
   * - `fillByEarlyConfidence`: the others follow, the surest at the early exit first, right or wrong.
   * - `trainLonger`: only those go, as columns cannot be trained; `pruneTrainingSet` trains on.
   */
  readonly shortfall?: Shortfall;
  /** Whether every class loses the same share, or the more the easier it is (`byDifficulty`). Default false. */
  readonly balanced?: Balance;
  /** See {@link pruneByEarlyExit}. Default `confidence`. */
  readonly variant?: "confidence" | "loss" | "soft";
  /** What to do about a class of which nothing would be kept. Default `refuse`. */
  readonly vanishing?: Vanishing;
  /** Breaks ties, and draws for `soft`. */
  readonly generator: Generator;
}

const caller = "eeprune.pruneByEarlyExit";

const optionsSchema = z.strictObject({
  classes: z.int().min(2),
  ratio: ratioOption.optional(),
  threshold: z.number().min(0).lt(1).optional(),
  shortfall: z.enum(["stop", "fillByEarlyConfidence", "trainLonger"]).default("stop"),
  balanced: balanceOption,
  variant: z.enum(["confidence", "loss", "soft"]).default("confidence"),
  vanishing: vanishingOption,
  generator: generatorOption,
});

/**
 * Chooses the training samples that may go: those that both exits answer right and of which the early one is sure,
 *
 * `argmax p_early = y` and `argmax p_final = y` and `max p_early > T`.
 *
 * With `ratio` r the surest round(r·n) of those that both exits answer right go, ties at random; T is then the confidence of the last
 * one. With `threshold` all above it go.
 *
 * Two variants are reconstructions from their names alone:
 * - `loss`: the samples of the lowest cross-entropy at the early exit go, whatever the exits answer; with `threshold` T those below
 *   −ln T. (With the two conditions it would be the same as `confidence`, as −ln p_y falls with p_y.)
 * - `soft`: of those that both exits answer right, each goes with a probability: with `ratio` they are drawn without replacement,
 *   with weights that are their confidences; with `threshold` each above it goes with the probability that is its confidence.
 *
 * The order of the rows does not matter where `ids` are given: ties are drawn in the order of the ids.
 *
 * @throws InputError on columns of different length, a label or prediction outside 0 … k − 1, a confidence that is NaN or outside
 * [0, 1], ids that come twice, both or neither of `ratio` and `threshold`, an option that is unknown or out of range, a ratio of which
 * not one sample can go, or a class that would vanish.
 * Source: Görmez, Koyuncu, "Dataset Pruning Using Early Exit Networks", ACM TIST 17(1), 2026: the three conditions [S]; confidence is
 * the largest probability, and how a ratio is reached [D]; `balanced` and `shortfall` are ours; the names of the variants [S], what
 * they do [D].
 * @example
 * ```ts
 * import { generator, pruneByEarlyExit } from "@exitkit/eeprune";
 * const { kept, pruned } = pruneByEarlyExit(
 *   {
 *     labels: [0, 0, 1, 1],
 *     earlyPrediction: [0, 1, 1, 1],
 *     finalPrediction: [0, 0, 1, 0],
 *     earlyConfidence: [0.9, 0.99, 0.8, 0.95],
 *   },
 *   { classes: 2, ratio: 0.25, generator: generator(1) },
 * );
 * console.assert(pruned.join() === "0" && kept.join() === "1,2,3");
 * ```
 */
export function pruneByEarlyExit(columns: EarlyExitColumns, options: PruneOptions): Selection {
  const { classes, ratio, threshold, shortfall, balanced, variant, vanishing } = parseOptions(
    caller,
    optionsSchema,
    options,
  );
  checkAmount(caller, ratio, threshold);
  const random = options.generator;
  const rows = checkedColumns(columns, classes, variant);
  const { n, ids, labels, keys, qualifies } = rows;
  const goes = new Uint8Array(n);
  const common = { caller, method: methodOf(variant, balanced), ids, labels, classes, goes, vanishing };
  if (threshold !== undefined) {
    markAbove(goes, rows, variant, threshold, random);
    return selectionOf({ ...common, ratio: null, threshold, missing: 0, warnings: [] });
  }
  const count = countOf(n, ratio!);
  const groups = groupsOf(labels, classes, count, balanced, rows.wrong);
  const drawn = variant === "soft" ? drawKeys(keys, random) : keys;
  let [missing, least] = [0, Number.POSITIVE_INFINITY];
  const short: { rows: Int32Array; count: number }[] = [];
  for (const group of groups) {
    const candidates = rowsWith(group.rows, qualifies, 1);
    const lowest = markLargest(goes, candidates, drawn, group.count, random);
    if (lowest !== null) least = Math.min(least, lowest);
    const lacking = Math.max(0, group.count - candidates.length);
    missing += lacking;
    if (lacking > 0) short.push({ rows: rowsWith(group.rows, qualifies, 0), count: lacking });
  }
  if (count > 0 && missing === count && shortfall !== "fillByEarlyConfidence") {
    const fix = 'Train the network longer, or pass shortfall: "fillByEarlyConfidence".';
    throw new InputError(caller, `${count} samples were to go`, "none that both exits answer right", fix);
  }
  const warnings = missing === 0 ? [] : [missingWarning(missing, count, balanced, shortfall)];
  if (shortfall === "fillByEarlyConfidence") {
    for (const group of short) markLargest(goes, group.rows, keys, group.count, random);
  }
  return selectionOf({
    ...common,
    ratio: ratio!,
    threshold: variant === "confidence" && count > 0 ? least : null,
    missing: shortfall === "fillByEarlyConfidence" ? 0 : missing,
    warnings,
  });
}

/** @throws InputError unless one of the two is given. */
export function checkAmount(caller: string, ratio: number | undefined, threshold: number | undefined): void {
  if ((ratio === undefined) !== (threshold === undefined)) return;
  const actual = ratio === undefined ? "neither" : "both";
  throw new InputError(caller, "either ratio or threshold says how much goes", actual, "Pass one of them.");
}

interface Rows {
  readonly n: number;
  readonly ids: Int32Array;
  readonly labels: Int32Array;
  /** What is ranked by, the largest first. */
  readonly keys: Reals;
  /** 1 where the criterion's conditions but confidence hold. */
  readonly qualifies: Uint8Array;
  /** 1 where the early exit is wrong. */
  readonly wrong: Uint8Array;
}

/** Columns as checked arrays in the order of the ids. */
function checkedColumns(
  columns: EarlyExitColumns,
  classes: number,
  variant: NonNullable<PruneOptions["variant"]>,
): Rows {
  if (typeof columns !== "object" || columns === null) {
    const fix = "Pass { labels, earlyPrediction, finalPrediction, earlyConfidence }.";
    throw new InputError(caller, "columns must be a record of columns", String(columns), fix);
  }
  const given = integers(caller, "labels", columns.labels, { below: classes });
  const n = given.length;
  const classColumn = (name: "earlyPrediction" | "finalPrediction") =>
    integers(caller, name, columns[name], { n, below: classes });
  const order = byId(caller, n, columns.ids);
  const early = classColumn("earlyPrediction");
  const final = classColumn("finalPrediction");
  const confidence = reals(caller, "earlyConfidence", columns.earlyConfidence, { n, from: 0, to: 1 });
  const qualifies = new Uint8Array(n);
  for (let i = 0; i < n; i++) qualifies[i] = early[i] === given[i] && final[i] === given[i] ? 1 : 0;
  const wrong = order.sorted(Uint8Array.from(given, (label, i) => (early[i] === label ? 0 : 1)));
  const common = { n, ids: order.ids, labels: order.sorted(given), wrong };
  if (variant !== "loss") {
    return { ...common, keys: order.sorted<Reals>(confidence), qualifies: order.sorted(qualifies) };
  }
  if (columns.earlyLoss === undefined) {
    throw new InputError(caller, 'variant: "loss" needs the column earlyLoss', "none");
  }
  const losses = reals(caller, "earlyLoss", columns.earlyLoss, { n, from: 0 });
  return { ...common, keys: order.sorted(Float64Array.from(losses, (loss) => -loss)), qualifies: qualifies.fill(1) };
}

function markAbove(
  goes: Uint8Array,
  { n, keys, qualifies }: Rows,
  variant: NonNullable<PruneOptions["variant"]>,
  threshold: number,
  random: Generator,
): void {
  const limit = variant === "loss" ? Math.log(threshold) : threshold;
  for (let i = 0; i < n; i++) {
    if (qualifies[i] === 0 || !(keys[i]! > limit)) continue;
    if (variant !== "soft" || random.uniform() < keys[i]!) goes[i] = 1;
  }
}

/** Keys u^(1 ÷ w), the largest of which are a weighted draw without replacement; as their logarithms. Source: Efraimidis and Spirakis, 2006. */
function drawKeys(weights: Reals, random: Generator): Float64Array {
  return Float64Array.from(weights, (weight) => Math.log(1 - random.uniform()) / Math.max(weight, 1e-300));
}

function methodOf(variant: NonNullable<PruneOptions["variant"]>, balanced: Balance): string {
  const name = { confidence: "eeprune", loss: "eeprune-loss", soft: "eeprune-soft" }[variant];
  return nameWith(name, balanced);
}

function missingWarning(missing: number, count: number, balanced: Balance, shortfall: Shortfall): string {
  const what = `${missing} of the ${count} samples to prune are missing: fewer than that are right at both exits${balanced === false ? "" : " in some classes"}`;
  if (shortfall === "fillByEarlyConfidence") return `${what}; the surest of the others went instead`;
  return shortfall === "stop" ? `${what}; fewer were pruned` : `${what}; train longer`;
}
