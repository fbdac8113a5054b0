import { createHash } from "node:crypto";
import { asTensor, InputError, sizeOf, type Tensor } from "@exitkit/core-gpu";
import { byId } from "../columns/by-id.ts";
import { integers } from "../columns/column.ts";
import type { ScoreColumns } from "../columns/score-columns.ts";
import type { Evidence } from "../rivals/evidence.ts";
import type { Selection } from "../selection/selection.ts";
import { rankLabelNoise, type Suspect } from "./rank-label-noise.ts";

/** Samples that are the same, bit by bit. */
export interface Duplicates {
  /** Ascending. */
  readonly ids: readonly number[];
  /** Whether their labels differ. */
  readonly contradict: boolean;
}

/** What a selection does to the classes, and what was noticed on the way. Plain data. */
export interface PruningReport {
  /** An entry for each class. */
  readonly classes: readonly { readonly samples: number; readonly kept: number; readonly pruned: number }[];
  /** The largest share that a class keeps ÷ the smallest; 1: all lose alike, Infinity: one loses all. */
  readonly imbalance: number;
  /** Ids, the most redundant first: those pruned of which the early exit is surest. Empty without `early`. */
  readonly mostPrunable: readonly number[];
  /** Ids, the hardest first: those to whose label the early exit gives the smallest probability. Empty without `early`. */
  readonly leastPrunable: readonly number[];
  /** Labels that may be wrong. Empty without `early` and `final`. */
  readonly labelErrors: readonly Suspect[];
  /** Groups of equal samples. Empty without `inputs`. */
  readonly duplicates: readonly Duplicates[];
}

/**
 * What a selection did, class by class, with the samples a person should look at.
 *
 * @param evidence What it was chosen by, of the same samples; more of it says more.
 * @param shown How many samples a list names at most. Default 20.
 * @throws InputError where the evidence is of other samples than the selection.
 * @example
 * ```ts
 * import { tensor } from "@exitkit/core-gpu";
 * import { generator, pruneBy, pruningReport } from "@exitkit/eeprune";
 * const evidence = { labels: [0, 0, 1, 1], classes: 2, inputs: tensor("float32", [4, 1], [1, 2, 2, 3]) };
 * const selection = pruneBy("inputNorm", evidence, { ratio: 0.25, generator: generator(1) });
 * const { classes, duplicates } = pruningReport(selection, evidence);
 * console.assert(classes[0]?.kept === 1 && classes[1]?.kept === 2);
 * console.assert(duplicates[0]?.ids.join() === "1,2" && duplicates[0].contradict);
 * ```
 */
export function pruningReport(selection: Selection, evidence: Evidence, shown = 20): PruningReport {
  const caller = "eeprune.pruningReport";
  if (!(selection?.kept instanceof Int32Array) || !(selection.pruned instanceof Int32Array)) {
    throw new InputError(caller, "selection must be what a pruning function gave", typeof selection);
  }
  const { classes, early, final, inputs } = evidence;
  const labels = integers(caller, "labels", evidence.labels, { below: classes });
  const n = labels.length;
  const ids =
    evidence.ids === undefined ? byId(caller, n, undefined).ids : integers(caller, "ids", evidence.ids, { n });
  const pruned = new Set(selection.pruned);
  const known = new Set([...selection.kept, ...selection.pruned]);
  const strange = ids.find((id) => !known.has(id));
  if (known.size !== n || strange !== undefined) {
    const actual = strange === undefined ? `${n} samples for ${known.size}` : `sample ${strange}`;
    throw new InputError(caller, "the evidence must be of the samples of the selection", actual);
  }
  const counts = Array.from({ length: classes }, () => ({ samples: 0, kept: 0, pruned: 0 }));
  for (let i = 0; i < n; i++) {
    const own = counts[labels[i]!]!;
    own.samples++;
    own[pruned.has(ids[i]!) ? "pruned" : "kept"]++;
  }
  const shares = counts.filter(({ samples }) => samples > 0).map(({ samples, kept }) => kept / samples);
  const suspects = early !== undefined && final !== undefined ? rankLabelNoise({ ...evidence, early, final }) : [];
  return {
    classes: counts,
    imbalance: Math.max(...shares) / Math.min(...shares),
    ...prunable(early, ids, pruned, shown),
    labelErrors: suspects.slice(0, shown),
    duplicates: inputs === undefined ? [] : duplicatesOf(asTensor(inputs), labels, ids),
  };
}

function prunable(early: ScoreColumns | undefined, ids: Int32Array, pruned: ReadonlySet<number>, shown: number) {
  if (early === undefined) return { mostPrunable: [], leastPrunable: [] };
  const rows = [...ids.keys()];
  const gone = rows.filter((i) => pruned.has(ids[i]!));
  const named = (sorted: readonly number[]) => sorted.slice(0, shown).map((i) => ids[i]!);
  return {
    mostPrunable: named(gone.sort((a, b) => early.confidence[b]! - early.confidence[a]! || ids[a]! - ids[b]!)),
    leastPrunable: named(
      rows.sort((a, b) => early.labelProbability[a]! - early.labelProbability[b]! || ids[a]! - ids[b]!),
    ),
  };
}

/** Groups of equal rows, by hash, in the order of their first ids. */
function duplicatesOf(inputs: Tensor, labels: Int32Array, ids: Int32Array): readonly Duplicates[] {
  const width = sizeOf(inputs.shape.slice(1));
  const groups = new Map<string, number[]>();
  for (let i = 0; i < labels.length; i++) {
    const { buffer, byteOffset, byteLength } = inputs.data.subarray(i * width, (i + 1) * width);
    const hash = createHash("sha256")
      .update(new Uint8Array(buffer, byteOffset, byteLength))
      .digest("base64");
    groups.set(hash, [...(groups.get(hash) ?? []), i]);
  }
  return [...groups.values()]
    .filter((rows) => rows.length > 1)
    .map((rows) => ({
      ids: rows.map((i) => ids[i]!).sort((a, b) => a - b),
      contradict: new Set(rows.map((i) => labels[i])).size > 1,
    }))
    .sort((a, b) => a.ids[0]! - b.ids[0]!);
}
