import type { Model } from "@exitkit/core-gpu";
import { openClassifier } from "@exitkit/e2cm";
import { replay } from "@exitkit/early-exit";
import { slicePictures } from "../../data/pictures.ts";
import { PASS_BATCH } from "./assign.ts";
import type { Choice, Fold } from "./curve.ts";
import { type ClusterExits, halfOf } from "./exits.ts";
import { labelledBatches } from "./pixels.ts";
import type { ClusteringRun } from "./schema.ts";
import type { Subject } from "./subject.ts";

/** Runs the second half of the test pictures in stages, with thresholds from the first half, and compares with the replay. */
export async function stagedCheck(
  { device, test, run, name }: Subject,
  model: Model,
  { fitted }: ClusterExits,
  { report, points }: Fold,
  choose: Choice,
): Promise<ClusteringRun["staged"]> {
  return run.step(`${name}-staged`, async () => {
    const { thresholds } = choose(points);
    const replayed = replay(report, thresholds, fitted.costs);
    const pictures = slicePictures(test, halfOf(test.n), test.n);
    const classifier = await openClassifier(model, fitted, { thresholds, device });
    let [at, early, differences] = [0, 0, 0];
    try {
      for await (const { x } of labelledBatches(pictures, pictures.labels, PASS_BATCH)) {
        const { predictions, leftAt } = await classifier.classify(x);
        leftAt.forEach((exit, row) => {
          if (exit < fitted.exits.length) early++;
          if (exit !== replayed.leftAt[at] || predictions[row] !== replayed.predictions[at]) differences++;
          at++;
        });
      }
    } finally {
      await classifier.release();
    }
    return { pictures: pictures.n, early: early / pictures.n, differences };
  });
}
