import type { Context } from "../experiments/experiment.ts";

/** The seeds of a run: `--seed` the first, `--seeds` of them. */
export function seedsOf({ seed, extras }: Pick<Context, "seed" | "extras">, usual = 1): readonly number[] {
  return Array.from({ length: extras.seeds ?? usual }, (_, index) => seed + index);
}
