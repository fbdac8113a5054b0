import { type Device, InputError, type Model, openDevice, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import type { Batches } from "./batches.ts";
import { attachHeads, checkSameModel, costsOf, type FittedExit } from "./exits.ts";
import { type FittedExits, outputsOf } from "./fittedExits.ts";
import { inspectNetwork, type Network } from "./network.ts";
import { batchesOption, callbackOption, deviceOption } from "./options.ts";
import { checkNovelty, type RejectOptions, rejectionThresholds, rejectOption } from "./rejection.ts";
import {
  argMaxRows,
  checkCalibrationSize,
  noveltyOfRecord,
  operatingPointsOf,
  recordFromScores,
  type ScoreRecord,
} from "./scoreRecord.ts";
import { runScores } from "./scores.ts";

/** Options of {@link calibrateExits}. */
export interface CalibrateOptions {
  /** Labelled pictures that choose among the candidates and choose thresholds: best ones the network was not trained on. */
  readonly calibration: Batches;
  /**
   * Turn pictures of no known class away: each exit answers `REJECTED` (−1) where the smallest distance to any class mean is
   * larger than a quantile of the calibration pictures'. Needs class means of the network's outputs, unless it goes by probability.
   * Default: every picture is given a class.
   */
  readonly reject?: RejectOptions;
  /** Where to run. Default: the best device there is, opened and closed by the call. */
  readonly device?: Device;
  /** Called after every batch with the number of pictures so far. */
  readonly onProgress?: (pictures: number) => void;
}

const schema = z.strictObject({
  calibration: batchesOption,
  reject: rejectOption,
  device: deviceOption,
  onProgress: callbackOption<(pictures: number) => void>(),
});

/**
 * Chooses, for every exit, the candidate that answers most calibration pictures rightly, and then the thresholds of every
 * operating point. Candidates are what `solveExits` gave for the same statistics and different shrinkages.
 *
 * With `reject`, pictures of no known class are turned away, and of pictures of known classes at most a fraction of 1 − q, whatever
 * the thresholds (distribution-free, for calibration pictures exchangeable with those to come). Operating points count rejected
 * calibration pictures as wrong.
 *
 * @param candidates At least one; all of one model, with the same taps.
 * @throws InputError on candidates that do not belong together or to the model, too few calibration pictures, rejection by distance
 * without class means of the network's outputs, bad batches or unknown options.
 */
export async function calibrateExits(
  model: Model,
  candidates: readonly FittedExits[],
  options: CalibrateOptions,
): Promise<FittedExits> {
  const caller = "e2cm.calibrateExits";
  const { calibration, reject, device: lent, onProgress } = parseOptions(caller, schema, options);
  const first = candidates[0];
  if (first === undefined) throw new InputError(caller, "at least one candidate", "none", "Take them from solveExits.");
  const device = lent ?? (await openDevice("auto"));
  try {
    const network = await inspectNetwork(caller, device, model, outputsOf(first));
    return await calibrated(caller, device, network, candidates, { calibration, heldOut: false, reject, onProgress });
  } finally {
    if (lent === undefined) await device.close();
  }
}

interface CalibrateSettings {
  readonly calibration: Batches;
  readonly heldOut: boolean;
  readonly reject?: Required<RejectOptions> | undefined;
  readonly onProgress?: ((pictures: number) => void) | undefined;
}

/** {@link calibrateExits} on a network that was inspected before. */
export async function calibrated(
  caller: string,
  device: Device,
  network: Network,
  candidates: readonly FittedExits[],
  { calibration, heldOut, reject, onProgress }: CalibrateSettings,
): Promise<FittedExits> {
  const first = candidates[0]!;
  const taps = (exits: readonly FittedExit[]) => exits.map(({ metric, tap }) => `${metric} at ${tap}`).join(", ");
  for (const candidate of candidates) {
    checkSameModel(caller, candidate.modelHash, network.hash);
    if (taps(candidate.exits) !== taps(first.exits)) {
      throw new InputError(
        caller,
        "all candidates must have the same exits",
        `${taps(first.exits)} and ${taps(candidate.exits)}`,
      );
    }
  }
  if (reject?.by === "distance") for (const candidate of candidates) checkNovelty(caller, candidate);
  const all = candidates.flatMap(({ exits }) => exits);
  const settings = { classes: first.classes, onProgress };
  const heads = attachHeads(network, all, { ...first, rejection: null });
  const scored = await runScores(caller, device, heads, calibration, settings);
  checkCalibrationSize(caller, scored.n);
  const { exits, scores } = bestCandidates(candidates, scored);
  const plain = recordFromScores(exits, scores, { ...first, rejection: null });
  const rejection = reject === undefined ? null : { ...reject, thresholds: rejectionOf(reject) };
  const record = rejection === null ? plain : recordFromScores(exits, scores, { ...first, rejection });
  const costs = costsOf(network, exits, rejection?.by === "distance");
  return {
    ...first,
    exits,
    rejection,
    costs,
    operatingPoints: operatingPointsOf(record, plain, costs),
    calibration: {
      pictures: record.n,
      fullAccuracy: fractionRight(record.predictions.at(-1)!, record.labels),
      heldOut,
    },
  };

  function rejectionOf({ by, quantile }: Required<RejectOptions>): readonly number[] {
    const distance = by === "distance" ? noveltyOfRecord(exits, scores, first) : null;
    const novelty = distance ?? plain.confidences.map((row) => row.map((value) => 1 - value));
    return rejectionThresholds(caller, novelty, quantile);
  }
}

/** Of every exit the candidate that answers most pictures rightly, the first of equals, and its scores. */
function bestCandidates(
  candidates: readonly FittedExits[],
  scored: ScoreRecord,
): { exits: readonly FittedExit[]; scores: ScoreRecord } {
  const count = candidates[0]!.exits.length;
  const scoresOf = (candidate: number, exit: number) => scored.scores[candidate * count + exit]!;
  const chosen = candidates[0]!.exits.map((_, exit) => {
    const accuracies = candidates.map((_candidate, candidate) =>
      fractionRight(argMaxRows(scoresOf(candidate, exit), scored.classes), scored.labels),
    );
    return accuracies.indexOf(Math.max(...accuracies));
  });
  return {
    exits: chosen.map((candidate, exit) => candidates[candidate]!.exits[exit]!),
    scores: { ...scored, scores: [...chosen.map(scoresOf), scored.scores.at(-1)!] },
  };
}

function fractionRight(answers: Int32Array, labels: Int32Array): number {
  return answers.reduce((sum, answer, i) => sum + (answer === labels[i] ? 1 : 0), 0) / Math.max(1, labels.length);
}
