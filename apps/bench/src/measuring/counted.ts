import { batches } from "../data/batches.ts";
import type { Normalisation } from "../data/normalisation.ts";
import type { Pictures } from "../data/pictures.ts";
import type { Progress } from "../terminal/progress.ts";

/** Pictures a run where nothing is timed. */
export const PASS_BATCH = 128;

/** Pictures in batches, each batch counted on a progress stage. */
export function counted(
  progress: Progress,
  title: string,
  pictures: Pictures,
  size = PASS_BATCH,
  normalisation?: Normalisation,
) {
  const stage = progress.stage(title, pictures.n, "pictures");
  const stream = batches(pictures, size, normalisation);
  return (async function* () {
    try {
      for await (const batch of stream) {
        yield batch;
        stage.advance(batch.y.length);
      }
    } finally {
      stage.done();
    }
  })();
}
