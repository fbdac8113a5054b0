import type { Context } from "../experiments/experiment.ts";
import type { Progress } from "../terminal/progress.ts";

/** Work with a stage of progress of its own, which ends with the work, also where that fails. */
export async function inStage<T>(
  progress: Progress,
  title: string,
  total: number,
  unit: string,
  work: (advance: (by: number) => void) => Promise<T>,
): Promise<T> {
  const stage = progress.stage(title, total, unit);
  try {
    return await work(stage.advance);
  } finally {
    stage.done();
  }
}

/**
 * One item after the other, each a step of the run that is kept, on one stage of progress.
 *
 * @param about The stage's title, and what the items are called.
 * @param keyOf Of an item's step.
 */
export async function eachStep<I, T>(
  { run, progress }: Pick<Context, "run" | "progress">,
  [title, unit]: readonly [title: string, unit: string],
  items: readonly I[],
  keyOf: (item: I) => string,
  work: (item: I) => Promise<T>,
): Promise<readonly T[]> {
  return inStage(progress, title, items.length, unit, async (advance) => {
    const results: T[] = [];
    for (const item of items) {
      results.push(await run.step(keyOf(item), () => work(item)));
      advance(1);
    }
    return results;
  });
}
