import { InputError } from "@exitkit/core-gpu";

/** Which samples stay and which go: together all of them, none in both. Plain data. */
export interface Selection {
  /** What chose them. */
  readonly method: string;
  /** Ids of the samples to train on, ascending. Shuffle them while training. */
  readonly kept: Int32Array;
  /** Ids of the samples that go, ascending. */
  readonly pruned: Int32Array;
  /** The share of samples that was to go; null where a threshold was given. */
  readonly ratio: number | null;
  /** The confidence of the least sure sample that a ranking by confidence pruned, or the threshold given; null for others. */
  readonly threshold: number | null;
  /** How many fewer than asked could be pruned. */
  readonly missing: number;
  /** What the caller should know, for people. */
  readonly warnings: readonly string[];
}

/** What to do about a class of which nothing would be kept. */
export type Vanishing = "refuse" | "warn";

/** What a {@link Selection} is made from. */
export interface SelectionParts {
  readonly caller: string;
  readonly method: string;
  /** `[n]` ascending. */
  readonly ids: Int32Array;
  /** `[n]` classes, in the order of the ids. */
  readonly labels: Int32Array;
  readonly classes: number;
  /** `[n]`: 1 where a sample goes. */
  readonly goes: Uint8Array;
  readonly ratio: number | null;
  readonly threshold: number | null;
  readonly missing: number;
  readonly warnings: readonly string[];
  readonly vanishing: Vanishing;
}

/**
 * A selection from a mask.
 *
 * @throws InputError where a class would have no sample left and `vanishing` is `refuse`.
 */
export function selectionOf(parts: SelectionParts): Selection {
  const { ids, goes, method, ratio, threshold, missing } = parts;
  let count = 0;
  for (const one of goes) count += one;
  const pruned = new Int32Array(count);
  const kept = new Int32Array(ids.length - count);
  let [down, up] = [0, 0];
  for (let i = 0; i < ids.length; i++) {
    if (goes[i] === 1) pruned[down++] = ids[i]!;
    else kept[up++] = ids[i]!;
  }
  const warnings = [...parts.warnings, ...vanished(parts)];
  return { method, kept, pruned, ratio, threshold, missing, warnings };
}

function vanished({ caller, labels, classes, goes, vanishing }: SelectionParts): readonly string[] {
  const [all, left] = [new Int32Array(classes), new Int32Array(classes)];
  for (let i = 0; i < labels.length; i++) {
    all[labels[i]!]!++;
    if (goes[i] === 0) left[labels[i]!]!++;
  }
  const gone = [...left.keys()].filter((k) => all[k]! > 0 && left[k] === 0);
  if (gone.length === 0) return [];
  const named = `${gone.length === 1 ? "class" : "classes"} ${gone.slice(0, 10).join(", ")}${gone.length > 10 ? ", …" : ""}`;
  if (vanishing === "warn") return [`nothing is kept of ${named}`];
  const fix = 'Prune less, pass balanced: true, or vanishing: "warn" to do it all the same.';
  throw new InputError(caller, "every class must keep a sample", `nothing of ${named}`, fix);
}

/** Number of samples that a ratio of n is: the nearest whole number. */
export function countOf(n: number, ratio: number): number {
  return Math.round(n * ratio);
}
