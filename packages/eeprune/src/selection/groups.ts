import { counting } from "../columns/by-id.ts";

/** Samples that are chosen from together, and how many of them. */
export interface Group {
  /** Rows, ascending. */
  readonly rows: Int32Array;
  readonly count: number;
}

/**
 * All rows as one group, or one for each class with its share of `count` (to a whole number: the largest remainders get the rest, of
 * equals the larger class, then the first).
 */
export function groupsOf(labels: Int32Array, classes: number, count: number, balanced: boolean): readonly Group[] {
  const n = labels.length;
  if (!balanced) return [{ rows: counting(n), count }];
  const sizes = new Int32Array(classes);
  for (const label of labels) sizes[label]!++;
  const quotas = sharesOf(count, sizes);
  const rows = Array.from(sizes, (size) => new Int32Array(size));
  const filled = new Int32Array(classes);
  for (let i = 0; i < n; i++) {
    const label = labels[i]!;
    rows[label]![filled[label]!++] = i;
  }
  return rows.map((own, k) => ({ rows: own, count: quotas[k]! }));
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

/** Those rows whose mark is `wanted`. */
export function rowsWith(rows: Int32Array, marks: Uint8Array, wanted: 0 | 1): Int32Array<ArrayBuffer> {
  const made = new Int32Array(rows.length);
  let count = 0;
  for (const row of rows) if (marks[row] === wanted) made[count++] = row;
  return made.subarray(0, count);
}
