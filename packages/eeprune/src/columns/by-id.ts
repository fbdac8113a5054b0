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
  const given = ids === undefined ? Int32Array.from({ length: n }, (_, i) => i) : integers(caller, "ids", ids, { n });
  if (isAscending(given)) return { n, ids: given, sorted: (column) => column };
  const order = orderOf(given);
  const sorted = given.slice().sort();
  const repeated = sorted.findIndex((id, i) => id === sorted[i - 1]);
  if (repeated >= 0) {
    throw new InputError(caller, "ids must differ", `${sorted[repeated]} twice`, "Every sample has one row.");
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

function isAscending(ids: Int32Array): boolean {
  for (let i = 1; i < ids.length; i++) if (ids[i]! <= ids[i - 1]!) return false;
  return true;
}

/** Rows by ascending id. Id and row share a float64's 53 bits where they fit, which sorts without a comparison in JavaScript. */
function orderOf(ids: Int32Array): Int32Array {
  const n = ids.length;
  if (ids.reduce((most, id) => Math.max(most, id), 0) < 2 ** 53 / n) {
    const keys = Float64Array.from(ids, (id, row) => id * n + row).sort();
    return Int32Array.from(keys, (key) => key % n);
  }
  return Int32Array.from(ids, (_, row) => row).sort((a, b) => ids[a]! - ids[b]!);
}
