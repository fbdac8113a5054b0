import type { Criterion } from "./criterion.ts";

/**
 * |w|: the smallest weights go. Costs nothing.
 *
 * Source: the paper's criterion, "magnitude pruning" [S].
 */
export function magnitude(): Criterion {
  return {
    name: "magnitude",
    score: ({ weights }) =>
      new Map([...weights].map(([path, { shape, data }]) => [path, { shape, data: data.map(Math.abs) }])),
  };
}
