import type { Dimension } from "../program/dimensions.ts";

/**
 * What a dimension comes to when its symbols have sizes; null where one has none. Formulas are those of
 * `program/dimensions.ts`: sums, products, floor and ceil of quotients.
 */
export function sizeOfDimension(dimension: Dimension, sizes: ReadonlyMap<string, number>): number | null {
  if (typeof dimension === "number") return dimension;
  const known = sizes.get(dimension);
  if (known !== undefined) return known;
  const tokens = dimension.match(/[A-Za-z_]\w*|\d+|[-+*/()]/g) ?? [];
  let at = 0;
  const take = (expected: string): boolean => {
    if (tokens[at] !== expected) return false;
    at++;
    return true;
  };
  const atom = (): number => {
    const token = tokens[at++] ?? "";
    if (token === "-") return -atom();
    if (token === "(" || token === "floor" || token === "ceil") {
      if (token !== "(") take("(");
      const value = sum();
      take(")");
      return token === "(" ? value : Math[token as "floor" | "ceil"](value);
    }
    return /^\d/.test(token) ? Number(token) : (sizes.get(token) ?? Number.NaN);
  };
  const product = (): number => {
    let value = atom();
    for (;;) {
      if (take("*")) value *= atom();
      else if (take("/")) value /= atom();
      else return value;
    }
  };
  const sum = (): number => {
    let value = product();
    for (;;) {
      if (take("+")) value += product();
      else if (take("-")) value -= product();
      else return value;
    }
  };
  const value = sum();
  return Number.isNaN(value) || at < tokens.length ? null : value;
}
