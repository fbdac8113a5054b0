import { type Device, tensor } from "@exitkit/core-gpu";
import { oneBatch } from "../../data/batches.ts";
import type { Normalisation } from "../../data/normalisation.ts";
import { type Pictures, slicePictures } from "../../data/pictures.ts";
import { accuracyAt, argMaxRows, countRight } from "../../measuring/answers.ts";
import { foldRecords } from "../../measuring/halves.ts";
import { quantile } from "../../measuring/timing.ts";
import type { Candidate, Method, Opened, Setting } from "./candidate.ts";
import type { RivalDataset } from "./datasets.ts";
import { cheapest, mostAccurate, type Way } from "./frontiers.ts";
import type { RivalNetwork } from "./network.ts";

/** Pictures of a timed batch. */
const WALL_BATCH = 64;

/** What is asked to be lost at most, on calibration pictures, in the one setting that is timed. */
export const TIMED_LOSS = 0.01;

/** The mean cost allowed, on calibration pictures, in the other one: of the plain network's. */
export const TIMED_FRACTION = 0.5;

/** Wall clock of one setting of a method, run in stages, against the plain network in the same rounds. */
export interface RivalWall {
  readonly dataset: RivalDataset;
  readonly method: Method;
  readonly budget: Candidate["budget"];
  readonly seed: number | null;
  /** `loss`: the cheapest setting that loses at most {@link TIMED_LOSS}; `cost`: the best that costs at most {@link TIMED_FRACTION}. */
  readonly asked: "loss" | "cost";
  readonly batch: number;
  readonly pictures: number;
  /** Whether its calibration pictures could keep the wanted loss; else its most accurate setting was timed. */
  readonly within: boolean;
  /** Of the timed pictures. */
  readonly macsFraction: number;
  readonly accuracy: number;
  readonly fullAccuracy: number;
  /** Median over rounds of (time in stages ÷ time in one plain session). */
  readonly wallFraction: number;
  /** Medians of one batch. */
  readonly plainMs: number;
  readonly stagedMs: number;
  readonly runs: number;
}

/** A setting that is timed. */
interface Timed {
  readonly asked: RivalWall["asked"];
  readonly within: boolean;
  readonly setting: Setting;
}

/**
 * Times a method on the second half of the test pictures, with thresholds from the first: each batch through the plain
 * session and through the stages of every setting, one after the other, the order changing from batch to batch.
 *
 * @param ways The candidate's, of which the first is timed.
 * @param plain What the plain network answers on all test pictures.
 */
export async function timeRival(
  device: Device,
  network: RivalNetwork,
  dataset: RivalDataset,
  candidate: Candidate,
  ways: readonly [Way, Way],
  plain: Candidate["record"],
  test: Pictures,
  options: { readonly normalisation: Normalisation; readonly rounds: number; readonly pictures: number },
): Promise<readonly RivalWall[]> {
  const half = Math.floor(test.n / 2);
  const batch = Math.min(WALL_BATCH, half);
  const count = Math.max(1, Math.floor(Math.min(options.pictures, half) / batch));
  const pieces = Array.from({ length: count }, (_, index) =>
    oneBatch(slicePictures(test, half + index * batch, half + (index + 1) * batch), options.normalisation),
  );
  const { folded, classes } = network;
  const into = { [folded.output]: tensor("float32", [batch, classes]) };
  const plainTimes: number[] = [];
  let plainRight = 0;
  const settings = timedSettings(ways[0].points, plain).map((timed) => ({
    ...timed,
    opened: null as Opened | null,
    right: 0,
    macs: 0,
    times: [] as number[],
  }));
  const session = await device.load(folded.model);
  try {
    for (const one of settings) one.opened = await candidate.open(one.setting);
    for (let round = -1; round < options.rounds; round++) {
      const time = [0, ...settings.map(() => 0)];
      for (const [index, { x, y }] of pieces.entries()) {
        const runPlain = async () => {
          const begun = performance.now();
          const scores = (await session.run({ [folded.input]: x }, { into }))[folded.output]!;
          time[0]! += performance.now() - begun;
          if (round < 0) plainRight += countRight(argMaxRows(scores.data as Float32Array, classes), y);
        };
        const runs = [
          runPlain,
          ...settings.map((one, at) => async () => {
            const begun = performance.now();
            const { predictions, leftAt } = await one.opened!.classify(x);
            time[at + 1]! += performance.now() - begun;
            if (round >= 0) return;
            one.right += countRight(predictions, y);
            for (const exit of leftAt) one.macs += candidate.costs.exits[exit]!;
          }),
        ];
        const first = (index + round + 1) % runs.length;
        for (const run of [...runs.slice(first), ...runs.slice(0, first)]) await run();
      }
      if (round < 0) continue;
      plainTimes.push(time[0]!);
      settings.forEach((one, at) => {
        one.times.push(time[at + 1]!);
      });
    }
  } finally {
    for (const { opened } of settings) await opened?.release();
    await session.release();
  }
  const pictures = count * batch;
  const { method, budget, seed } = candidate;
  return settings.map(({ asked, within, right: own, macs, times }) => ({
    dataset,
    method,
    budget,
    seed,
    asked,
    batch,
    pictures,
    within,
    macsFraction: macs / pictures / candidate.costs.full,
    accuracy: own / pictures,
    fullAccuracy: plainRight / pictures,
    wallFraction: quantile(
      times.map((time, round) => time / plainTimes[round]!),
      0.5,
    ),
    plainMs: quantile(plainTimes, 0.5) / count,
    stagedMs: quantile(times, 0.5) / count,
    runs: times.length,
  }));
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
