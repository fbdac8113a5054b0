import {
  addTaps,
  checkArguments,
  type Device,
  InputError,
  type Model,
  openDevice,
  parseOptions,
  until,
} from "@exitkit/core-gpu";
import type { ExitModel, ExitRecord } from "@exitkit/early-exit";
import { z } from "zod";
import { attachHeads, checkSameModel } from "../exits/exits.ts";
import { FITTED, type FittedExits, outputsOf } from "../exits/fitted-exits.ts";
import { type Batches, checkBatch } from "../network/batches.ts";
import { inspectNetwork } from "../network/network.ts";
import { callbackOption, deviceOption, signalOption } from "../options.ts";
import { DISTANCE_RULES, type DistanceRule } from "./distances.ts";
import { checkNovelty, type Rejection, rejectionSchema } from "./rejection.ts";
import { noveltyOfRecord, recordFromScores, SCORES, type ScoreRecord } from "./score-record.ts";

/** Options of {@link recordScores}. */
export interface RecordScoresOptions {
  /** Where to run. Default: the best device there is, opened and closed by the call. */
  readonly device?: Device;
  /** Ends the call between two batches: it rejects with the signal's reason, streams are closed, the device can be used on. */
  readonly signal?: AbortSignal;
  /** Called after every batch with the number of samples so far. */
  readonly onProgress?: (samples: number) => void;
}

const schema = z.strictObject({
  device: deviceOption,
  signal: signalOption,
  onProgress: callbackOption<(samples: number) => void>(),
});

/**
 * Runs the whole network once over labelled batches and keeps what every exit scores; nothing leaves early. With
 * {@link exitRecord}, all that threshold sweeps need.
 *
 * @param batches A label of −1 says that the sample is of no known class.
 * @throws InputError on exits of another model, a bad batch or unknown options.
 * @example
 * ```ts
 * import { readModelFile, readSafetensorsFile, rows } from "@exitkit/core-gpu";
 * import { accumulateStatistics, exitRecord, recordScores, solveExits } from "@exitkit/e2cm";
 * import { NEVER, replay } from "@exitkit/early-exit";
 * const { train, trainLabels } = (await readSafetensorsFile("pictures.safetensors")).tensors;
 * const labels = trainLabels!.data as Int32Array;
 * const batches = (from: number, to: number) => [{ x: rows(train!, from, to), y: labels.subarray(from, to) }];
 * const model = await readModelFile("network.onnx");
 * const fitted = await solveExits(model, await accumulateStatistics(model, batches(0, 180), { classes: 4 }));
 * const record = exitRecord(fitted, await recordScores(model, fitted, batches(180, 240)));
 * const { shares } = replay(record, [NEVER, NEVER, NEVER], fitted.costs);
 * console.assert(shares.join() === "0,0,0,1");
 * ```
 */
export async function recordScores(
  model: Model,
  fitted: FittedExits,
  batches: Batches,
  options: RecordScoresOptions = {},
): Promise<ScoreRecord> {
  const caller = "e2cm.recordScores";
  checkArguments(caller, { fitted: [fitted, FITTED], batches: [batches, "an iterable"] });
  const { device: lent, signal, onProgress } = parseOptions(caller, schema, options);
  const device = lent ?? (await openDevice("auto"));
  try {
    const network = await inspectNetwork(caller, device, model, outputsOf(fitted), { as: fitted.scoresFrom });
    checkSameModel(caller, fitted.modelHash, network);
    const exitModel = attachHeads(network, fitted.exits, { ...fitted, rejection: null });
    const settings = { classes: fitted.classes, unknown: true, onProgress };
    const scores = await runScores(caller, device, exitModel, until(signal, batches), settings);
    if (scores.n === 0) throw new InputError(caller, "at least one batch of samples", "none", "Is the stream used up?");
    return scores;
  } finally {
    if (lent === undefined) await device.close();
  }
}

/** How {@link exitRecord} may decide otherwise than the exits were fitted to. */
export interface RecordDecision {
  /** Euclidean exits only: how distances become a confidence. */
  readonly rule?: DistanceRule;
  /** Euclidean exits only: answer the nearest mean by `raw` or by `normalised` distances. */
  readonly predictFrom?: "raw" | "normalised";
  /** How samples of no known class are turned away; null: they are not. */
  readonly rejection?: Rejection | null;
}

const decisionSchema = z.strictObject({
  rule: z.enum(DISTANCE_RULES as [DistanceRule, ...DistanceRule[]]).optional(),
  predictFrom: z.enum(["raw", "normalised"]).optional(),
  rejection: rejectionSchema.nullish(),
});

/**
 * What recorded scores amount to: every exit's confidences and answers, for `replay` and the threshold solvers of
 * `@exitkit/early-exit`.
 *
 * @param scores Of the same exits: what the last exit scored depends on how it answers.
 * @param decision What is decided otherwise; default: nothing.
 * @throws InputError on another number of exits or classes, rejection by distance where novelty cannot be told, another number of
 * rejection thresholds, or unknown options.
 */
export function exitRecord(fitted: FittedExits, scores: ScoreRecord, decision: RecordDecision = {}): ExitRecord {
  const caller = "e2cm.exitRecord";
  checkArguments(caller, { fitted: [fitted, FITTED], scores: [scores, SCORES] });
  const { rule, predictFrom, rejection } = parseOptions(caller, decisionSchema, decision);
  const e = fitted.exits.length + 1;
  if (scores.scores.length !== e || scores.classes !== fitted.classes) {
    const actual = `${scores.scores.length} exits and ${scores.classes} classes`;
    throw new InputError(caller, `scores of ${e} exits and ${fitted.classes} classes`, actual, "Use recordScores.");
  }
  const decided = {
    ...fitted,
    rule: rule ?? fitted.rule,
    predictFrom: predictFrom ?? fitted.predictFrom,
    rejection: rejection === undefined ? fitted.rejection : rejection,
  };
  if (decided.rejection !== null && decided.rejection.thresholds.length !== e) {
    throw new InputError(caller, `rejection thresholds of ${e} exits`, `${decided.rejection.thresholds.length}`);
  }
  if (decided.rejection?.by === "distance") checkNovelty(caller, fitted);
  return recordFromScores(fitted.exits, scores, decided);
}

/**
 * How far recorded samples are from all classes at every exit, the full network included: `[e][n]`, the smallest (normalised)
 * distance to any class mean. The larger, the less a sample looks like any class; what rejection compares with its thresholds.
 *
 * @throws InputError when there are no class means of the network's outputs, or the exits were saved before distances could be
 * told of them.
 * @example
 * ```ts
 * import { readModelFile, readSafetensorsFile, rows } from "@exitkit/core-gpu";
 * import { exitNovelty, fit, recordScores } from "@exitkit/e2cm";
 * import { auroc } from "@exitkit/early-exit";
 * const { train, trainLabels } = (await readSafetensorsFile("pictures.safetensors")).tensors;
 * const labels = trainLabels!.data as Int32Array;
 * const batches = (from: number, to: number) => [{ x: rows(train!, from, to), y: labels.subarray(from, to) }];
 * const model = await readModelFile("network.onnx");
 * const fitted = await fit(model, batches(0, 180), { classes: 4, calibration: batches(180, 240), reject: {} });
 * const known = exitNovelty(fitted, await recordScores(model, fitted, batches(180, 240)));
 * const noise = { x: rows(train!, 0, 60), y: new Int32Array(60).fill(-1) }; // −1: of no known class
 * (noise.x.data as Float32Array).forEach((_, i, pixels) => { pixels[i] = 9 * Math.sin(i); });
 * const unknown = exitNovelty(fitted, await recordScores(model, fitted, [noise]));
 * console.assert(auroc(known.at(-1)!, unknown.at(-1)!) > 0.5);
 * ```
 */
export function exitNovelty(fitted: FittedExits, scores: ScoreRecord): readonly Float32Array[] {
  checkArguments("e2cm.exitNovelty", { fitted: [fitted, FITTED], scores: [scores, SCORES] });
  checkNovelty("e2cm.exitNovelty", fitted);
  return noveltyOfRecord(fitted.exits, scores, fitted);
}

/** {@link recordScores} of a network that was inspected before. */
export async function runScores(
  caller: string,
  device: Device,
  exitModel: ExitModel,
  batches: Batches,
  {
    classes,
    unknown = false,
    onProgress,
  }: {
    readonly classes: number;
    /** Whether labels may be −1, of no known class. */
    readonly unknown?: boolean;
    readonly onProgress?: ((samples: number) => void) | undefined;
  },
): Promise<ScoreRecord> {
  const names = exitModel.exits.map((exit) => exit.scores!);
  const session = await device.load(addTaps(exitModel.model, names));
  const input = session.inputs.find(({ name }) => name === exitModel.input)!;
  const parts: Float32Array[][] = names.map(() => []);
  const labels: number[] = [];
  let index = 0;
  try {
    for await (const given of batches) {
      const batch = checkBatch(caller, given, input, classes, index++, unknown ? -1 : 0);
      if (batch.y.length === 0) continue;
      const results = await session.run({ [exitModel.input]: batch.x }, { outputs: [...new Set(names)] });
      names.forEach((name, exit) => {
        parts[exit]!.push(results[name]!.data as Float32Array);
      });
      for (let i = 0; i < batch.y.length; i++) labels.push(batch.y[i]!);
      onProgress?.(labels.length);
    }
  } finally {
    await session.release();
  }
  return { n: labels.length, classes, scores: parts.map(joined), labels: Int32Array.from(labels) };
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
