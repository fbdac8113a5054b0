import { InputError } from "@exitkit/core-gpu";
import { type Column, integers } from "./column.ts";

/** How rows of columns become rows in the order of their ids, so that no choice depends on how columns were shuffled. */
export interface ById {
  /** Number of samples, n. */
  readonly n: number;
  /** `[n]` ascending. */
  readonly ids: Int32Array<ArrayBuffer>;
  /** A column, its rows in the order of the ids. */
  sorted<T extends { readonly length: number; slice(): T; [row: number]: number }>(column: T): T;
}

/**
 * The order of samples by id.
 *
 * @param ids Default 0 … n − 1, in the columns' order.
 * @throws InputError on ids that are not whole numbers of 0 to 2³¹ − 1, or come twice.
 */
export function byId(caller: string, n: number, ids: Column | undefined): ById {
  if (ids === undefined) return { n, ids: counting(n), sorted: (column) => column };
  const given = integers(caller, "ids", ids, { n });
  if (isAscending(given)) return { n, ids: given, sorted: (column) => column };
  const order = orderOf(given);
  const sorted = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    sorted[i] = given[order[i]!]!;
    if (i === 0 || sorted[i] !== sorted[i - 1]) continue;
    throw new InputError(caller, "ids must differ", `${sorted[i]} twice`, "Every sample has one row.");
  }
  return {
    n,
    ids: sorted,
    sorted(column) {
      const made = column.slice();
      for (let i = 0; i < n; i++) made[i] = column[order[i]!]!;
      return made;
    },
  };
}

/** 0 … n − 1. */
export function counting(n: number): Int32Array<ArrayBuffer> {
  const made = new Int32Array(n);
  for (let i = 0; i < n; i++) made[i] = i;
  return made;
}

function isAscending(ids: Int32Array): boolean {
  for (let i = 1; i < ids.length; i++) if (ids[i]! <= ids[i - 1]!) return false;
  return true;
}

/** Rows by ascending id, by a radix sort of 16 bits twice. */
function orderOf(ids: Int32Array): Int32Array {
  const n = ids.length;
  let order = counting(n);
  for (const shift of [0, 16]) {
    const begins = new Int32Array(65537);
    for (let i = 0; i < n; i++) begins[((ids[i]! >>> shift) & 0xffff) + 1]!++;
    for (let bucket = 0; bucket < 65536; bucket++) begins[bucket + 1]! += begins[bucket]!;
    const next = new Int32Array(n);
    for (let i = 0; i < n; i++) {
      const row = order[i]!;
      const bucket = (ids[row]! >>> shift) & 0xffff;
      next[begins[bucket]!++] = row;
    }
    order = next;
  }
  return order;
}
