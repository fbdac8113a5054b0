import type { Criterion } from "./criterion.ts";

/** Uniform in [0, 1), of the round's generator: any weight may go. The control that a criterion has to beat. */
export function random(): Criterion {
  return {
    name: "random",
    score: ({ weights, random }) =>
      new Map([...weights].map(([path, { shape, data }]) => [path, { shape, data: data.map(() => random.uniform()) }])),
  };
}
