import { openClassifier } from "@exitkit/e2cm";
import { cheapestWithin } from "@exitkit/early-exit";
import { oneBatch } from "../../../data/batches.ts";
import { slicePictures } from "../../../data/pictures.ts";
import { folds } from "../../../measuring/halves.ts";
import { timeInStages } from "../../../measuring/wall.ts";
import type { WallRow } from "../schema.ts";
import { CLASSES, type Subject } from "./network.ts";
import type { SoundFit } from "./shared.ts";

const BATCHES = [1, 16, 64, 256];

/**
 * The loss asked for on calibration pictures in the timings and the example pictures. What is lost on new pictures is more than
 * what was asked for: 0.3 points asked are about half a point lost.
 */
export const TIMED_LOSS = 0.003;

/** Times the early-exit network against the plain one on real pictures it was not calibrated on, in batches of several sizes. */
export async function wallPart(subject: Subject, { fitted }: SoundFit): Promise<readonly WallRow[]> {
  const { context, backbone, device, data, settings, key } = subject;
  const { name, model } = backbone;
  const { rounds, timedPictures } = settings;
  const reported = folds(data)[1];
  const { thresholds } = cheapestWithin(fitted.operatingPoints, fitted.calibration!.fullAccuracy - TIMED_LOSS)!;
  const staged = { open: () => openClassifier(model, fitted, { thresholds, device }), costs: fitted.costs };
  const stage = context.progress.stage(`${name}: wall clock`, BATCHES.length * rounds, "rounds");
  const rows: WallRow[] = [];
  for (const batch of BATCHES) {
    const row = await context.run.step(key(`wall-batch${batch}`), async () => {
      const most = Math.min(timedPictures, (batch * timedPictures) / 16, reported.n);
      const pieces = Array.from({ length: Math.max(1, Math.floor(most / batch)) }, (_, index) =>
        oneBatch(slicePictures(reported, index * batch, (index + 1) * batch)),
      );
      const options = { classes: CLASSES, rounds, onRound: () => stage.advance(1) };
      const [times] = await timeInStages(device, backbone, [staged], pieces, options);
      const measured = { backbone: name, metric: "sharedCovariance", ...times!, wantedLoss: TIMED_LOSS };
      await context.run.metric({ ...measured });
      return measured;
    });
    rows.push(row);
  }
  stage.done();
  return rows;
}
