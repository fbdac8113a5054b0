import type { Order } from "./schema.ts";

/** Names and colours of the orders, the same in every figure. */
export const ORDERS: Readonly<
  Record<Order, { readonly name: string; readonly color: string; readonly dashed?: boolean }>
> = {
  dense: { name: "not pruned", color: "var(--ink-2)", dashed: true },
  together: { name: "together", color: "var(--blue)" },
  sequential: { name: "backbone first", color: "var(--red)" },
  exitsFirst: { name: "exits first", color: "var(--green)" },
  random: { name: "together, at random", color: "var(--gold)" },
};

/** Mean of one number of some rows. */
export function meanOver<K extends string>(rows: readonly Readonly<Record<K, number>>[], key: K): number {
  return rows.reduce((sum, row) => sum + row[key], 0) / rows.length;
}
