import type { Device } from "@exitkit/core-gpu";
import { oneBatch } from "../../data/batches.ts";
import type { Normalisation } from "../../data/normalisation.ts";
import { type Pictures, slicePictures } from "../../data/pictures.ts";
import { accuracyAt } from "../../measuring/answers.ts";
import { foldRecords } from "../../measuring/halves.ts";
import { timeInStages } from "../../measuring/wall.ts";
import type { Candidate, Setting } from "./candidate.ts";
import type { RivalDataset } from "./datasets.ts";
import { cheapest, mostAccurate, type Way } from "./frontiers.ts";
import type { RivalNetwork } from "./network.ts";
import type { WallRow } from "./schema.ts";

/** Pictures of a timed batch. */
const WALL_BATCH = 64;

/** What is asked to be lost at most, on calibration pictures, in the one setting that is timed. */
export const TIMED_LOSS = 0.01;

/** The mean cost allowed, on calibration pictures, in the other one: of the plain network's. */
export const TIMED_FRACTION = 0.5;

/** A setting that is timed. */
interface Timed {
  readonly asked: "loss" | "cost";
  readonly within: boolean;
  readonly setting: Setting;
}

/**
 * Times a method on the second half of the test pictures, with thresholds from the first.
 *
 * @param ways The candidate's, of which the first is timed.
 * @param plain What the plain network answers on all test pictures.
 */
export async function timeRival(
  device: Device,
  { folded, classes }: RivalNetwork,
  dataset: RivalDataset,
  candidate: Candidate,
  ways: readonly [Way, Way],
  plain: Candidate["record"],
  test: Pictures,
  options: { readonly normalisation: Normalisation; readonly rounds: number; readonly pictures: number },
): Promise<readonly WallRow[]> {
  const half = Math.floor(test.n / 2);
  const batch = Math.min(WALL_BATCH, half);
  const count = Math.max(1, Math.floor(Math.min(options.pictures, half) / batch));
  const pieces = Array.from({ length: count }, (_, index) =>
    oneBatch(slicePictures(test, half + index * batch, half + (index + 1) * batch), options.normalisation),
  );
  const settings = timedSettings(ways[0].points, plain);
  const { method, budget, seed, costs } = candidate;
  const staged = settings.map(({ setting }) => ({ open: () => candidate.open(setting), costs }));
  const times = await timeInStages(device, folded, staged, pieces, { classes, rounds: options.rounds });
  return settings.map(({ asked, within }, at) => ({ dataset, method, budget, seed, asked, within, ...times[at]! }));
}

/** What is timed of a method, with thresholds from the first half; what costs too much is left out. */
function timedSettings(points: readonly Setting[], plain: Candidate["record"]): readonly Timed[] {
  const [calibration] = foldRecords(plain);
  const full = accuracyAt(calibration, calibration.exits.length - 1);
  const wanted = cheapest(points, full - TIMED_LOSS);
  const most = wanted ?? mostAccurate(points, Number.POSITIVE_INFINITY)!;
  const halved = mostAccurate(points, TIMED_FRACTION);
  return [
    { asked: "loss", within: wanted !== undefined, setting: most },
    ...(halved === undefined ? [] : [{ asked: "cost" as const, within: true, setting: halved }]),
  ];
}
