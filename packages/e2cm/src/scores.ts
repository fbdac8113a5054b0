import { addTaps, type Device, InputError, type Model, openDevice, parseOptions } from "@exitkit/core-gpu";
import type { ExitModel, ExitRecord } from "@exitkit/early-exit";
import { z } from "zod";
import { type Batches, checkBatch } from "./batches.ts";
import { attachHeads, checkSameModel } from "./exits.ts";
import type { FittedExits } from "./fittedExits.ts";
import { inspectNetwork } from "./network.ts";
import { callbackOption, deviceOption } from "./options.ts";
import { type HostDecision, recordFromScores, type ScoreRecord } from "./scoreRecord.ts";

/** Options of {@link recordScores}. */
export interface RecordScoresOptions {
  /** Where to run. Default: the best device there is, opened and closed by the call. */
  readonly device?: Device;
  /** Called after every batch with the number of pictures so far. */
  readonly onProgress?: (pictures: number) => void;
}

const schema = z.strictObject({
  device: deviceOption,
  onProgress: callbackOption<(pictures: number) => void>(),
});

/**
 * Runs the whole network once over labelled batches and keeps what every exit scores; nothing leaves early. With
 * {@link exitRecord}, all that threshold sweeps need.
 *
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
 * const exits = await solveExits(model, await accumulateStatistics(model, batches(0, 180), { classes: 4 }));
 * const record = exitRecord(exits, await recordScores(model, exits, batches(180, 240)));
 * const { shares } = replay(record, [NEVER, NEVER, NEVER], exits.costs);
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
  const { device: lent, onProgress } = parseOptions(caller, schema, options);
  const device = lent ?? (await openDevice("auto"));
  try {
    const network = await inspectNetwork(caller, device, model, fitted.classes);
    checkSameModel(caller, fitted.modelHash, network.hash);
    const exitModel = attachHeads(network, fitted.exits, fitted);
    const scores = await runScores(caller, device, exitModel, fitted.classes, batches, onProgress);
    if (scores.n === 0)
      throw new InputError(caller, "at least one batch of pictures", "none", "Is the stream used up?");
    return scores;
  } finally {
    if (lent === undefined) await device.close();
  }
}

/**
 * What recorded scores amount to: every exit's confidences and answers, for `replay` and the threshold solvers of
 * `@exitkit/early-exit`.
 *
 * @param decision Another distance rule or answer than the exits were fitted with (Euclidean exits only).
 */
export function exitRecord(fitted: FittedExits, scores: ScoreRecord, decision: Partial<HostDecision> = {}): ExitRecord {
  return recordFromScores(fitted.exits, scores, { ...pick(fitted), ...decision });
}

function pick({ rule, predictFrom, lastMeans }: FittedExits): HostDecision {
  return { rule, predictFrom, lastMeans };
}

/** {@link recordScores} of a network that was inspected before. */
export async function runScores(
  caller: string,
  device: Device,
  exitModel: ExitModel,
  classes: number,
  batches: Batches,
  onProgress?: (pictures: number) => void,
): Promise<ScoreRecord> {
  const names = exitModel.exits.map((exit) => exit.scores!);
  const session = await device.load(addTaps(exitModel.model, names));
  const input = session.inputs.find(({ name }) => name === exitModel.input)!;
  const parts: Float32Array[][] = names.map(() => []);
  const labels: number[] = [];
  let index = 0;
  try {
    for await (const batch of batches) {
      checkBatch(caller, batch, input, classes, index++);
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
