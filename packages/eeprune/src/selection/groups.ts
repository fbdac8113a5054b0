import { counting } from "../columns/by-id.ts";

/** Samples that are chosen from together, and how many of them. */
export interface Group {
  /** Rows, ascending. */
  readonly rows: Int32Array;
  readonly count: number;
}

/**
 * How many samples each class loses: false, whatever is chosen from all; true, every class the same share; `byDifficulty`, the more the
 * more of its samples the early exit answers rightly already.
 */
export type Balance = boolean | "byDifficulty";

/**
 * All rows as one group, or one for each class with its part of `count`.
 *
 * With `true` the parts are in proportion to the classes (to whole numbers: the largest remainders get the rest, of equals the larger
 * class, then the first). With `byDifficulty` class k keeps in proportion to n_k · (w_k + 1) ÷ (n_k + 2), w_k of its n_k samples being
 * wrong at the early exit; what a class cannot keep, as it has no more, the others keep.
 *
 * @param wrong `[n]`: 1 where the early exit is wrong; only `byDifficulty` reads it.
 * Source of `byDifficulty`: Vysogorets, Ahuja, Kempe, "DRoP: Distributionally Robust Data Pruning", ICLR 2025: densities in proportion to
 * 1 − recall. Differs: recall on the training samples at the early exit, smoothed [D].
 */
export function groupsOf(
  labels: Int32Array,
  classes: number,
  count: number,
  balance: Balance,
  wrong?: ArrayLike<number>,
): readonly Group[] {
  const n = labels.length;
  if (balance === false) return [{ rows: counting(n), count }];
  const sizes = new Int32Array(classes);
  for (const label of labels) sizes[label]!++;
  const quotas = balance === true ? sharesOf(count, sizes) : easyQuotas(labels, sizes, count, wrong!);
  const rows = Array.from(sizes, (size) => new Int32Array(size));
  const filled = new Int32Array(classes);
  for (let i = 0; i < n; i++) {
    const label = labels[i]!;
    rows[label]![filled[label]!++] = i;
  }
  return rows.map((own, k) => ({ rows: own, count: quotas[k]! }));
}

/** How many of each class go: what is kept is in proportion to how much of it is wrong, and at most all of it. */
function easyQuotas(labels: Int32Array, sizes: Int32Array, count: number, wrong: ArrayLike<number>): readonly number[] {
  const errors = new Int32Array(sizes.length);
  labels.forEach((label, i) => {
    errors[label]! += wrong[i]!;
  });
  const weights = Array.from(sizes, (size, k) => (size === 0 ? 0 : (size * (errors[k]! + 1)) / (size + 2)));
  const kept = new Array<number>(sizes.length).fill(0);
  let open = [...sizes.keys()].filter((k) => sizes[k]! > 0);
  let keep = labels.length - count;
  while (open.length > 0) {
    const shares = sharesOf(
      keep,
      open.map((k) => weights[k]!),
    );
    const full = open.filter((k, at) => shares[at]! >= sizes[k]!);
    if (full.length === 0) {
      open.forEach((k, at) => {
        kept[k] = shares[at]!;
      });
      break;
    }
    for (const k of full) {
      kept[k] = sizes[k]!;
      keep -= sizes[k]!;
    }
    open = open.filter((k) => !full.includes(k));
  }
  return kept.map((number, k) => sizes[k]! - number);
}

/** A whole number dealt out in proportion to sizes, by largest remainders. */
function sharesOf(count: number, sizes: ArrayLike<number>): readonly number[] {
  const all = Array.from(sizes);
  const total = all.reduce((sum, size) => sum + size, 0);
  const exact = all.map((size) => (total === 0 ? 0 : (count * size) / total));
  const shares = exact.map((share) => Math.floor(share + 1e-9));
  const order = [...exact.keys()].sort(
    (a, b) => exact[b]! - shares[b]! - (exact[a]! - shares[a]!) || all[b]! - all[a]! || a - b,
  );
  const rest = count - shares.reduce((sum, share) => sum + share, 0);
  for (const k of order.slice(0, rest)) shares[k]!++;
  return shares;
}

/** A method's name and how it deals with classes. */
export function nameWith(method: string, balance: Balance): string {
  if (balance === false) return method;
  return `${method}, ${balance === true ? "balanced" : "by difficulty"}`;
}

/** Those rows whose mark is `wanted`. */
export function rowsWith(rows: Int32Array, marks: Uint8Array, wanted: 0 | 1): Int32Array<ArrayBuffer> {
  const made = new Int32Array(rows.length);
  let count = 0;
  for (const row of rows) if (marks[row] === wanted) made[count++] = row;
  return made.subarray(0, count);
}
