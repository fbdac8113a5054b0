import { cheapestWithin } from "@exitkit/early-exit";
import { oneBatch } from "../../data/batches.ts";
import { slicePictures } from "../../data/pictures.ts";
import { accuracyAt } from "../../measuring/answers.ts";
import { foldRecords } from "../../measuring/halves.ts";
import { timeInStages } from "../../measuring/wall.ts";
import type { Candidate, Setting } from "./candidate.ts";
import { mostAccurate, type Way } from "./frontiers.ts";
import type { Subject } from "./prepare.ts";
import type { WallRow } from "./schema.ts";
import type { RivalSettings } from "./settings.ts";

/** Pictures of a timed batch. */
const WALL_BATCH = 64;

/** What is asked to be lost at most, on calibration pictures, in the one setting that is timed. */
export const TIMED_LOSS = 0.01;

/** The mean cost allowed, on calibration pictures, in the other one: of the plain network's. */
export const TIMED_FRACTION = 0.5;

/**
 * Times a method on the second half of the test pictures, with thresholds from the first.
 *
 * @param way The candidate's first one.
 * @param plain What the plain network answers on all test pictures.
 */
export async function timeRival(
  { dataset, material, test }: Subject,
  candidate: Candidate,
  { points }: Way,
  plain: Candidate["record"],
  { rounds, timedPictures }: Pick<RivalSettings, "rounds" | "timedPictures">,
): Promise<readonly WallRow[]> {
  const { device, network, normalisation } = material;
  const half = Math.floor(test.n / 2);
  const batch = Math.min(WALL_BATCH, half);
  const count = Math.max(1, Math.floor(Math.min(timedPictures, half) / batch));
  const pieces = Array.from({ length: count }, (_, index) =>
    oneBatch(slicePictures(test, half + index * batch, half + (index + 1) * batch), normalisation),
  );
  const settings = timedSettings(points, plain);
  const { method, budget, seed, costs } = candidate;
  const staged = settings.map(({ setting }) => ({ open: () => candidate.open(setting), costs }));
  const times = await timeInStages(device, network.folded, staged, pieces, { classes: network.classes, rounds });
  return settings.map(({ asked, within }, at) => {
    return { dataset: dataset.name, method, budget, seed, asked, within, ...times[at]! };
  });
}

/** What is timed of a method, with thresholds from the first half; what costs too much is left out. */
function timedSettings(points: readonly Setting[], plain: Candidate["record"]) {
  const [calibration] = foldRecords(plain);
  const wanted = cheapestWithin(points, accuracyAt(calibration, calibration.exits.length - 1) - TIMED_LOSS);
  const most = wanted ?? mostAccurate(points, Number.POSITIVE_INFINITY)!;
  const halved = mostAccurate(points, TIMED_FRACTION);
  return [
    { asked: "loss", within: wanted !== undefined, setting: most },
    ...(halved === undefined ? [] : [{ asked: "cost", within: true, setting: halved }]),
  ];
}
