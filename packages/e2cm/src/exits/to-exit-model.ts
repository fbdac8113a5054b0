import { checkArguments, type Device, type Model, openDevice, parseOptions } from "@exitkit/core-gpu";
import type { ExitModel } from "@exitkit/early-exit";
import { z } from "zod";
import { inspectNetwork } from "../network/network.ts";
import { deviceOption } from "../options.ts";
import { attachExits, checkSameModel } from "./exits.ts";
import { FITTED, type FittedExits, outputsOf } from "./fitted-exits.ts";

/** Options of {@link toExitModel}. */
export interface ToExitModelOptions {
  /** Where the network is run once to see its shapes. Default: the best device there is, opened and closed by the call. */
  readonly device?: Device;
}

const schema = z.strictObject({ device: deviceOption });

/**
 * The network with its fitted exits as a graph, for all that `@exitkit/early-exit` does with one: `exportSingle` and
 * `exportStages` write files that stop early in any ONNX runtime, `openStaged` runs it, `recordExits` records it.
 *
 * Thresholds are no part of it: take those of one of the exits' `operatingPoints`, `[e − 1]`; `NEVER` switches an exit off. The distance
 * rule is, and so is rejection: with `reject` an exit's prediction is `REJECTED` (−1) where it finds a sample novel, and with
 * `at: "everyExit"` its confidence is 1 there, so that the sample leaves at any threshold below 1. `scores` of every exit are
 * what `recordScores` records.
 *
 * @param fitted Calibrated or not.
 * @returns e exits: the fitted ones, and the full network last.
 * @throws InputError when the exits were fitted on another model, or on unknown options.
 * @example
 * ```ts
 * import { readModelFile, readSafetensorsFile, rows, writeModelFile } from "@exitkit/core-gpu";
 * import { fit, toExitModel } from "@exitkit/e2cm";
 * import { cheapestWithin, exportSingle } from "@exitkit/early-exit";
 * const { train, trainLabels } = (await readSafetensorsFile("pictures.safetensors")).tensors;
 * const labels = trainLabels!.data as Int32Array;
 * const batches = (from: number, to: number) => [{ x: rows(train!, from, to), y: labels.subarray(from, to) }];
 * const model = await readModelFile("network.onnx");
 * const fitted = await fit(model, batches(0, 180), { classes: 4, calibration: batches(180, 240) });
 * const { thresholds } = cheapestWithin(fitted.operatingPoints, fitted.calibration!.fullAccuracy - 0.01)!;
 * await writeModelFile("single.onnx", exportSingle(await toExitModel(model, fitted), thresholds));
 * ```
 */
export async function toExitModel(
  model: Model,
  fitted: FittedExits,
  options: ToExitModelOptions = {},
): Promise<ExitModel> {
  const caller = "e2cm.toExitModel";
  checkArguments(caller, { fitted: [fitted, FITTED] });
  const { device: lent } = parseOptions(caller, schema, options);
  const device = lent ?? (await openDevice("auto"));
  try {
    return await exitModelOf(caller, device, model, fitted);
  } finally {
    if (lent === undefined) await device.close();
  }
}

/** {@link toExitModel} on an open device. */
export async function exitModelOf(
  caller: string,
  device: Device,
  model: Model,
  fitted: FittedExits,
): Promise<ExitModel> {
  const network = await inspectNetwork(caller, device, model, outputsOf(fitted), { as: fitted.scoresFrom });
  checkSameModel(caller, fitted.modelHash, network);
  return attachExits(network, fitted.exits, fitted);
}
