import { meanOf } from "./answers.ts";

/** Mean and standard deviation (n − 1) of at least one value; the deviation undefined for one. */
export function spread(values: readonly number[]): { readonly mean: number; readonly deviation?: number } {
  const mean = meanOf(values);
  if (values.length < 2) return { mean };
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / (values.length - 1)) };
}
