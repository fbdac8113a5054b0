import { type Device, tensor } from "@exitkit/core-gpu";
import { oneBatch } from "../../data/batches.ts";
import type { Normalisation } from "../../data/normalisation.ts";
import { type Pictures, slicePictures } from "../../data/pictures.ts";
import { accuracyAt, argMaxRows, countRight, foldRecords } from "../e2cm/network.ts";
import { quantile } from "../timing.ts";
import type { Candidate, Method } from "./candidate.ts";
import type { RivalDataset } from "./datasets.ts";
import { bothWays, cheapest, mostAccurate } from "./frontiers.ts";
import type { RivalNetwork } from "./network.ts";

/** Pictures of a timed batch. */
const WALL_BATCH = 64;

/** What is asked to be lost at most, on calibration pictures, in the setting that is timed. */
export const TIMED_LOSS = 0.01;

/** Wall clock of one method, run in stages, against the plain network in the same rounds. */
export interface RivalWall {
  readonly dataset: RivalDataset;
  readonly method: Method;
  readonly budget: Candidate["budget"];
  readonly seed: number | null;
  readonly batch: number;
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

/**
 * Times a method on the second half of the test pictures, with thresholds from the first: each batch through the plain
 * session and through the stages, one after the other, the order changing from batch to batch.
 *
 * @param plain What the plain network answers on all test pictures.
 */
export async function timeRival(
  device: Device,
  network: RivalNetwork,
  dataset: RivalDataset,
  candidate: Candidate,
  plain: Candidate["record"],
  test: Pictures,
  options: { readonly normalisation: Normalisation; readonly rounds: number; readonly pictures: number },
): Promise<RivalWall> {
  const [{ points }] = bothWays(candidate);
  const [calibration] = foldRecords(plain);
  const own = accuracyAt(calibration, calibration.exits.length - 1);
  const wanted = cheapest(points, own - TIMED_LOSS);
  const point = wanted ?? mostAccurate(points, Number.POSITIVE_INFINITY)!;
  const half = Math.floor(test.n / 2);
  const batch = Math.min(WALL_BATCH, half);
  const count = Math.max(1, Math.floor(Math.min(options.pictures, half) / batch));
  const pieces = Array.from({ length: count }, (_, index) =>
    oneBatch(slicePictures(test, half + index * batch, half + (index + 1) * batch), options.normalisation),
  );
  const { folded, classes } = network;
  const session = await device.load(folded.model);
  const opened = await candidate.open(point);
  const into = { [folded.output]: tensor("float32", [batch, classes]) };
  const times: { readonly plain: number; readonly staged: number }[] = [];
  const right = { plain: 0, staged: 0 };
  let macs = 0;
  try {
    for (let round = -1; round < options.rounds; round++) {
      const time = { plain: 0, staged: 0 };
      for (const [index, piece] of pieces.entries()) {
        const runPlain = async () => {
          const begun = performance.now();
          const scores = (await session.run({ [folded.input]: piece.x }, { into }))[folded.output]!;
          time.plain += performance.now() - begun;
          if (round < 0) right.plain += countRight(argMaxRows(scores.data as Float32Array, classes), piece.y);
        };
        const runStaged = async () => {
          const begun = performance.now();
          const { predictions, exits } = await opened.classify(piece.x);
          time.staged += performance.now() - begun;
          if (round >= 0) return;
          right.staged += countRight(predictions, piece.y);
          for (const exit of exits) macs += candidate.costs.exits[exit]!;
        };
        for (const run of (index + round) % 2 === 0 ? [runPlain, runStaged] : [runStaged, runPlain]) await run();
      }
      if (round >= 0) times.push(time);
    }
  } finally {
    await opened.release();
    await session.release();
  }
  const pictures = count * batch;
  const median = (of: (time: (typeof times)[number]) => number) => quantile(times.map(of), 0.5);
  const { method, budget, seed } = candidate;
  return {
    dataset,
    method,
    budget,
    seed,
    batch,
    within: wanted !== undefined,
    macsFraction: macs / pictures / candidate.costs.full,
    accuracy: right.staged / pictures,
    fullAccuracy: right.plain / pictures,
    wallFraction: median(({ plain: a, staged: b }) => b / a),
    plainMs: median((time) => time.plain / count),
    stagedMs: median((time) => time.staged / count),
    runs: times.length,
  };
}
