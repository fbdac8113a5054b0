import { type Device, generator, InputError, type Model, openDevice, parseOptions, until } from "@exitkit/core-gpu";
import { guardedPoints } from "@exitkit/early-exit";
import { z } from "zod";
import {
  checkNovelty,
  halvesOf,
  type RejectOptions,
  rejectionThresholds,
  rejectOption,
} from "../decisions/rejection.ts";
import {
  answersOf,
  checkCalibrationSize,
  noveltyOfRecord,
  operatingPointsOf,
  recordFromScores,
  type ScoreRecord,
} from "../decisions/score-record.ts";
import { runScores } from "../decisions/scores.ts";
import { attachHeads, checkSameModel, costsOf, type FittedExit, type OutputExit } from "../exits/exits.ts";
import { type FittedExits, outputsOf } from "../exits/fitted-exits.ts";
import type { Batches } from "../network/batches.ts";
import { inspectNetwork, type Network } from "../network/network.ts";
import { batchesOption, callbackOption, deviceOption, signalOption } from "../options.ts";

/** Options of {@link calibrateExits}. */
export interface CalibrateOptions {
  /** Labelled samples that choose among the candidates and choose thresholds: best ones the network was not trained on. */
  readonly calibration: Batches;
  /**
   * Turn samples of no known class away: each exit answers `REJECTED` (−1) where the smallest distance to any class mean is
   * larger than a quantile of the calibration samples'. Needs class means of the network's outputs, unless it goes by probability,
   * and so many calibration samples that the quantile is one of half of them. Default: every sample is given a class.
   */
  readonly reject?: RejectOptions;
  /**
   * δ in (0, 1): probability, over the calibration samples, that the accuracy loss that `openClassifier` is asked to keep within is
   * exceeded on new samples all the same. Default 0.1.
   */
  readonly delta?: number;
  /** Where to run. Default: the best device there is, opened and closed by the call. */
  readonly device?: Device;
  /** Ends the call between two batches: it rejects with the signal's reason, streams are closed, the device can be used on. */
  readonly signal?: AbortSignal;
  /** Called after every batch with the number of samples so far. */
  readonly onProgress?: (samples: number) => void;
}

const schema = z.strictObject({
  calibration: batchesOption,
  reject: rejectOption,
  delta: z.number().gt(0).lt(1).default(0.1),
  device: deviceOption,
  signal: signalOption,
  onProgress: callbackOption<(samples: number) => void>(),
});

/** Schema of the option `delta`. */
export const deltaOption = schema.shape.delta;

/** Of the calibration samples, those that choose candidates and the path of thresholds; the others test what is guaranteed. */
const CHOOSING_SHARE = 0.3;

/** Deals calibration samples, always alike. */
const SEED = 2;

/**
 * Chooses, for every exit, the candidate that answers most calibration samples rightly, and then the thresholds of every
 * operating point, and says what they lose. 30 % of the calibration samples, in a fixed random order, choose candidates and a path of
 * thresholds; the others bound, for every point of it, the accuracy lost on new samples (`guarded`; see `guardedPoints` of
 * `@exitkit/early-exit`). That holds for calibration samples that are independent draws of what will be classified, and that neither the
 * network nor the exits were made of. `operatingPoints`, which are aimed at and not guaranteed, are chosen on all. An exit that answers
 * no more of the choosing samples rightly than their most frequent class is left out, and said so in `calibration.notes`; the best one stays where none answers more.
 *
 * Candidates are what `solveExits` gave for the same statistics and different shrinkages; class means of the
 * network's outputs are the first candidate's.
 *
 * With `reject`, samples of no known class are turned away, and a sample of a known class with a probability of at most 1 − q,
 * whatever the thresholds: a probability over the draw of the calibration samples too, free of distributions, for calibration
 * samples exchangeable with those to come and not used to fit the exits. Half of them, in a fixed random order, then choose among
 * the candidates and say how novelty is scaled, the other half how much of it is too much. Operating points are chosen on all, and
 * count rejected ones as wrong; none is guaranteed.
 *
 * @param candidates At least one; all of one model, with the same exits, classes and decision, fitted on as many samples.
 * @throws InputError on candidates that do not belong together or to the model, too few calibration samples, rejection by distance
 * without class means of the network's outputs, bad batches or unknown options.
 */
export async function calibrateExits(
  model: Model,
  candidates: readonly FittedExits[],
  options: CalibrateOptions,
): Promise<FittedExits> {
  const caller = "e2cm.calibrateExits";
  const { calibration, reject, delta, device: lent, signal, onProgress } = parseOptions(caller, schema, options);
  const first = Array.isArray(candidates) ? (candidates as readonly FittedExits[])[0] : undefined;
  if (first === undefined) throw new InputError(caller, "at least one candidate", "none", "Take them from solveExits.");
  const device = lent ?? (await openDevice("auto"));
  try {
    const network = await inspectNetwork(caller, device, model, outputsOf(first), { as: first.scoresFrom });
    return await calibrated(caller, device, network, candidates, {
      calibration: until(signal, calibration),
      heldOut: false,
      reject,
      delta,
      onProgress,
    });
  } finally {
    if (lent === undefined) await device.close();
  }
}

interface CalibrateSettings {
  readonly calibration: Batches;
  readonly heldOut: boolean;
  readonly reject?: Required<RejectOptions> | undefined;
  readonly delta: number;
  readonly onProgress?: ((samples: number) => void) | undefined;
}

/** {@link calibrateExits} on a network that was inspected before. */
export async function calibrated(
  caller: string,
  device: Device,
  network: Network,
  candidates: readonly FittedExits[],
  { calibration, heldOut, reject, delta, onProgress }: CalibrateSettings,
): Promise<FittedExits> {
  const first = candidates[0]!;
  for (const candidate of candidates) {
    checkSameModel(caller, candidate.modelHash, network);
    checkAlike(caller, first, candidate);
  }
  if (reject?.by === "distance") for (const candidate of candidates) checkNovelty(caller, candidate);
  const all = candidates.flatMap(({ exits }) => exits);
  const settings = { classes: first.classes, onProgress };
  const heads = attachHeads(network, all, { ...first, rejection: null });
  const scored = await runScores(caller, device, heads, calibration, settings);
  checkCalibrationSize(caller, scored.n);
  // What some samples chose is independent of those that test it.
  const choosing =
    reject === undefined
      ? generator(SEED)
          .permutation(scored.n)
          .slice(0, Math.round(CHOOSING_SHARE * scored.n))
      : halvesOf(scored.n).scaling;
  const { exits, scores, notes } = withoutUseless(bestCandidates(candidates, scored, choosing), first, choosing);
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
    guarded:
      rejection === null
        ? guardedPoints(record, costs, { delta, random: generator(SEED + 1), pathUnits: choosing })
        : null,
    calibration: {
      samples: record.n,
      fullAccuracy: fractionRight(record.predictions.at(-1)!, record.labels),
      heldOut,
      notes,
    },
  };

  function rejectionOf({ by, quantile }: Required<RejectOptions>): readonly number[] {
    const distance = by === "distance" ? noveltyOfRecord(exits, scores, first) : null;
    const novelty = distance ?? plain.confidences.map((row) => row.map((value) => 1 - value));
    return rejectionThresholds(caller, novelty, quantile);
  }
}

/** Refuses a candidate that differs from the first in more than how its exits were solved. */
function checkAlike(caller: string, first: FittedExits, candidate: FittedExits): void {
  const said = (fitted: FittedExits): Readonly<Record<string, string>> => ({
    exits: fitted.exits.map(({ metric, tap }) => `${metric} at ${tap}`).join(", "),
    classes: `${fitted.classes}`,
    rule: fitted.rule,
    predictFrom: fitted.predictFrom,
    last: fitted.last,
    output: outputSaid(fitted.output),
    counts: fitted.counts?.join(", ") ?? "not kept",
  });
  const [wanted, given] = [said(first), said(candidate)];
  const fix = "Solve all candidates from the same statistics, with the same options but for the shrinkage.";
  for (const [name, value] of Object.entries(wanted)) {
    if (given[name] === value) continue;
    throw new InputError(caller, `all candidates must have the same ${name}`, `${value} and ${given[name]}`, fix);
  }
  if (first.output?.metric !== "euclidean" || candidate.output?.metric !== "euclidean") return;
  const { means } = candidate.output;
  const at = first.output.means.findIndex((value, i) => value !== means[i]);
  if (at < 0) return;
  const actual = `other class means, ${first.output.means[at]} and ${means[at]} at place ${at}`;
  throw new InputError(caller, "all candidates must have the same output", actual, fix);
}

/** Metric and size of class means of the network's outputs: with a shared covariance their numbers change with the shrinkage. */
function outputSaid(output: OutputExit | null): string {
  if (output === null) return "none";
  const matrix = output.metric === "euclidean" ? output.means : output.weights;
  return `${output.metric} of ${matrix.length} numbers`;
}

/**
 * Of every exit the candidate that answers most samples rightly, the first of equals, and its scores.
 *
 * @param rows The samples that are looked at.
 */
function bestCandidates(candidates: readonly FittedExits[], scored: ScoreRecord, rows: Int32Array): Chosen {
  const first = candidates[0]!;
  const { labels } = scored;
  const scoresOf = (candidate: number, exit: number) => scored.scores[candidate * first.exits.length + exit]!;
  const chosen = first.exits.map((_, exit) => {
    const right = candidates.map(({ exits }, candidate) => {
      const answers = answersOf(exits[exit]!, scoresOf(candidate, exit), first);
      return rows.reduce((sum, i) => sum + (answers[i] === labels[i] ? 1 : 0), 0);
    });
    return right.indexOf(Math.max(...right));
  });
  return {
    exits: chosen.map((candidate, exit) => candidates[candidate]!.exits[exit]!),
    scores: { ...scored, scores: [...chosen.map(scoresOf), scored.scores.at(-1)!] },
  };
}

interface Chosen {
  readonly exits: readonly FittedExit[];
  readonly scores: ScoreRecord;
}

/**
 * Leaves out exits that are no better than answering the most frequent class every time, and says what stands out.
 *
 * @param rows The samples that are looked at.
 */
function withoutUseless(
  { exits, scores }: Chosen,
  decision: FittedExits,
  rows: Int32Array,
): Chosen & { readonly notes: readonly string[] } {
  const labels = rows.map((row) => scores.labels[row]!);
  const counts = new Int32Array(decision.classes);
  for (const label of labels) if (label >= 0) counts[label]!++;
  const most = Math.max(...counts);
  const rightOf = (exit: OutputExit | null, own: Float32Array, asked: ArrayLike<number>): number => {
    const answers = answersOf(exit, own, decision);
    return Array.from(asked).reduce((sum, row) => sum + (answers[row] === scores.labels[row] ? 1 : 0), 0);
  };
  const right = exits.map((exit, at) => rightOf(exit, scores.scores[at]!, rows));
  const all = scores.labels.map((_, row) => row);
  const full = rightOf(decision.last === "nearestMean" ? decision.output : null, scores.scores.at(-1)!, all);
  const said = (at: number) => `exit "${exits[at]!.tap}" (${right[at]} of ${rows.length} right)`;
  const better = [...exits.keys()].filter((at) => right[at]! > most);
  // There is no network without exits: the best one stays, and is said to be no good.
  const kept = better.length > 0 ? better : [right.indexOf(Math.max(...right))];
  const blind = `answering the most frequent class every time is right ${most} times`;
  const notes = [
    ...[...exits.keys()].filter((at) => !kept.includes(at)).map((at) => `${said(at)} was left out: ${blind}.`),
    ...(better.length > 0 ? [] : [`${said(kept[0]!)} is of no use: ${blind}. Choose other taps, or check the labels.`]),
    ...kept
      .map((at) => ({ tap: exits[at]!.tap, own: rightOf(exits[at]!, scores.scores[at]!, all) }))
      .filter(({ own }) => own > full)
      .map(
        ({ tap, own }) =>
          `The network is worse than its own exit "${tap}": ${full} against ${own} of ${scores.n} right.`,
      ),
  ].map((note) => note.charAt(0).toUpperCase() + note.slice(1));
  const columns = [...kept.map((at) => scores.scores[at]!), scores.scores.at(-1)!];
  return { exits: kept.map((at) => exits[at]!), scores: { ...scores, scores: columns }, notes };
}

function fractionRight(answers: Int32Array, labels: Int32Array): number {
  return answers.reduce((sum, answer, i) => sum + (answer === labels[i] ? 1 : 0), 0) / Math.max(1, labels.length);
}
