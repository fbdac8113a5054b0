/**
 * Of every seed the row with the largest allowed cost up to a fraction of the plain network's; none of a seed that cannot be so
 * cheap. Rows without an allowance are passed over.
 */
export function allowedRows<R extends { readonly seed: number | null; readonly askedFraction: number | null }>(
  rows: readonly R[],
  fraction: number,
): readonly R[] {
  const best = new Map<number | null, R>();
  for (const row of rows) {
    if (row.askedFraction === null || row.askedFraction > fraction + 1e-9) continue;
    const known = best.get(row.seed);
    if (known === undefined || row.askedFraction > known.askedFraction!) best.set(row.seed, row);
  }
  return [...best.values()];
}
