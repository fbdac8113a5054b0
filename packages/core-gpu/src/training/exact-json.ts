/** JSON has no NaN, no infinities and no −0: they are written as `{"number": "NaN"}`. */
export function exactNumbers(value: unknown): unknown {
  if (typeof value === "number") {
    const lost = !Number.isFinite(value) || Object.is(value, -0);
    return lost ? { number: Object.is(value, -0) ? "-0" : String(value) } : value;
  }
  return mapped(value, exactNumbers);
}

/** Undoes {@link exactNumbers}. */
export function restoreNumbers(value: unknown): unknown {
  const packed = value as { readonly number?: unknown } | null;
  if (typeof packed?.number === "string" && Object.keys(packed).length === 1) return Number(packed.number);
  return mapped(value, restoreNumbers);
}

function mapped(value: unknown, change: (child: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value.map(change);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, change(child)]));
}
