import { type ArgumentKind, checkArguments, InputError } from "@exitkit/core-gpu";
import type { FeatureKind } from "../network/features.ts";
import type { ScoresFrom } from "../network/network.ts";

/** Sums over the training samples seen so far at one exit point: all that class means and covariances need. */
export interface ExitStatistics {
  /** Name of the tensor the exit reads. */
  readonly tap: string;
  /** Features a sample has at this exit, after flattening or pooling. */
  readonly d: number;
  /** Per-class feature sums Σ_{i∈S_k} x_i, row-major [k, d]. */
  readonly sums: Float64Array;
  /** Sum of squared norms Σ_i ‖x_i‖² over all samples. */
  readonly squares: number;
  /** Gram matrix Σ_i x_i x_iᵀ over all classes, row-major [d, d], both triangles; null where it was not asked for. */
  readonly gram: Float64Array | null;
}

/** Mergeable partial results of one streaming pass over (a shard of) the training set. Float64 throughout. */
export interface ClassStatistics {
  /** sha256 of what the model computes that the features came from. */
  readonly modelHash: string;
  /** Which of its outputs scores are read from; null as for `FittedExits`. */
  readonly scoresFrom: ScoresFrom | null;
  /** k: number of classes. */
  readonly classes: number;
  /** Scores that the network gives: k, unless it was trained on other classes. */
  readonly outputs: number;
  /** What was summed. */
  readonly features: FeatureKind;
  /** Samples seen of every class |S_k|, [k]. */
  readonly counts: Float64Array;
  readonly exits: readonly ExitStatistics[];
}

/** What an argument must be that holds statistics. */
export const STATISTICS: ArgumentKind = {
  classes: "a number",
  outputs: "a number",
  features: "a string",
  counts: "numbers or bigints",
  exits: "a list",
};

/**
 * Adds two shards' partial results: counts, sums, squares and Gram matrices are sums over samples, so the merge of two
 * shards is what one pass over both would have given (up to the rounding of float64 sums).
 *
 * @throws InputError when the shards come from different models, exits, features or numbers of classes.
 */
export function mergeStatistics(a: ClassStatistics, b: ClassStatistics): ClassStatistics {
  const caller = "e2cm.mergeStatistics";
  checkArguments(caller, { a: [a, STATISTICS], b: [b, STATISTICS] });
  const same = (what: string, left: unknown, right: unknown) => {
    if (left !== right) {
      throw new InputError(caller, `both shards must have the same ${what}`, `${String(left)} and ${String(right)}`);
    }
  };
  same("model (sha256)", a.modelHash, b.modelHash);
  same("output", a.scoresFrom?.output, b.scoresFrom?.output);
  same("number of classes", a.classes, b.classes);
  same("number of the network's outputs", a.outputs, b.outputs);
  same("features", a.features, b.features);
  same("exits", a.exits.map((exit) => exit.tap).join(", "), b.exits.map((exit) => exit.tap).join(", "));
  const exits = a.exits.map((left, index) => {
    const right = b.exits[index]!;
    same(`features d at ${left.tap}`, left.d, right.d);
    same(`Gram matrix (kept or not) at ${left.tap}`, left.gram === null, right.gram === null);
    return {
      tap: left.tap,
      d: left.d,
      sums: added(left.sums, right.sums),
      squares: left.squares + right.squares,
      gram: left.gram === null || right.gram === null ? null : added(left.gram, right.gram),
    };
  });
  return { ...a, counts: added(a.counts, b.counts), exits };
}

/**
 * The same statistics among more classes: those beyond the ones there were have no sample yet. What samples of new classes
 * are merged into, so that exits can be solved again without the old samples.
 *
 * @throws InputError when `classes` is not a whole number, at least as many as there are.
 */
export function withMoreClasses(statistics: ClassStatistics, classes: number): ClassStatistics {
  checkArguments("e2cm.withMoreClasses", { statistics: [statistics, STATISTICS], classes: [classes, "a number"] });
  if (!Number.isSafeInteger(classes) || classes < statistics.classes) {
    const expectation = `classes must be a whole number ≥ the ${statistics.classes} there are`;
    throw new InputError("e2cm.withMoreClasses", expectation, `${classes}`);
  }
  const longer = (values: Float64Array, length: number) => {
    const all = new Float64Array(length);
    all.set(values);
    return all;
  };
  return {
    ...statistics,
    classes,
    counts: longer(statistics.counts, classes),
    exits: statistics.exits.map((exit) => ({ ...exit, sums: longer(exit.sums, classes * exit.d) })),
  };
}

function added(left: Float64Array, right: Float64Array): Float64Array {
  return left.map((value, index) => value + right[index]!);
}

/**
 * Refuses statistics in which a class has no sample: its mean does not exist.
 *
 * @throws InputError naming the empty classes.
 */
export function checkEveryClassSeen(caller: string, counts: Float64Array): void {
  const empty = [...counts.keys()].filter((label) => counts[label] === 0);
  if (empty.length === 0) return;
  const named = empty.length > 10 ? `${empty.slice(0, 10).join(", ")} and ${empty.length - 10} more` : empty.join(", ");
  throw new InputError(
    caller,
    "every class needs at least one training sample",
    `none of class ${named} (${counts.length} classes)`,
    "Feed more training batches, or set `classes` to the number that the labels really have.",
  );
}
