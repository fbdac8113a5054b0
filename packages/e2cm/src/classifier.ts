import { type Device, InputError, type Model, openDevice, parseOptions, type Tensor } from "@exitkit/core-gpu";
import { type Classification, cheapestWithin, openStaged } from "@exitkit/early-exit";
import { z } from "zod";
import type { FittedExits } from "./exits/fitted-exits.ts";
import { exitModelOf } from "./exits/to-exit-model.ts";
import { deviceOption } from "./options.ts";

/** Options of {@link openClassifier}. */
export interface ClassifierOptions {
  /** How much accuracy may be lost on the calibration pictures, in [0, 1]; 0.005 (half a point) by default. */
  readonly maxAccuracyLoss?: number;
  /** [e − 1] thresholds, in place of the operating point that `maxAccuracyLoss` asks for. */
  readonly thresholds?: readonly number[];
  /** Where to run. Default: the best device there is, closed with the classifier. */
  readonly device?: Device;
}

/** A network that stops early. Must be released. */
export interface Classifier {
  /** [e − 1] in use. */
  readonly thresholds: readonly number[];
  /** Mean cost on the calibration pictures as a fraction of the plain network's MACs; null for thresholds of one's own. */
  readonly expectedCost: number | null;
  /**
   * Classifies x [n, ...]: each picture leaves at the first exit that is sure enough, and nothing behind it is executed. Where the
   * exits were fitted with `reject`, the prediction of a picture of no known class is `REJECTED` (−1).
   *
   * @throws InputError on another shape or dtype than the network takes, or after release.
   */
  classify(x: Tensor): Promise<Classification>;
  /** Frees sessions and, when it was opened here, the device. Releasing twice is allowed. */
  release(): Promise<void>;
}

const schema = z.strictObject({
  maxAccuracyLoss: z.number().min(0).max(1).default(0.005),
  thresholds: z.array(z.number()).readonly().optional(),
  device: deviceOption,
});

/**
 * Opens a network with fitted exits for running: a picture leaves at the first exit whose confidence is strictly greater
 * than its threshold.
 *
 * @throws InputError when the exits were fitted on another model or not calibrated (and no thresholds are given), when
 * there are not e − 1 thresholds, or on unknown options.
 * Source: E²CM (IJCNN 2022), exit rule [S].
 * @example
 * ```ts
 * import { readModelFile, readSafetensorsFile, rows } from "@exitkit/core-gpu";
 * import { fit, openClassifier } from "@exitkit/e2cm";
 * const { train, trainLabels } = (await readSafetensorsFile("pictures.safetensors")).tensors;
 * const labels = trainLabels!.data as Int32Array;
 * const batches = (from: number, to: number) => [{ x: rows(train!, from, to), y: labels.subarray(from, to) }];
 * const model = await readModelFile("network.onnx");
 * const fitted = await fit(model, batches(0, 180), { classes: 4, calibration: batches(180, 240) });
 * const classifier = await openClassifier(model, fitted, { maxAccuracyLoss: 0.01 });
 * const { predictions } = await classifier.classify(rows(train!, 0, 5));
 * await classifier.release();
 * console.assert(predictions.length === 5);
 * ```
 */
export async function openClassifier(
  model: Model,
  fitted: FittedExits,
  options: ClassifierOptions = {},
): Promise<Classifier> {
  const caller = "e2cm.openClassifier";
  const { maxAccuracyLoss, thresholds: given, device: lent } = parseOptions(caller, schema, options);
  if (given !== undefined && given.length !== fitted.exits.length) {
    throw new InputError(caller, `thresholds for ${fitted.exits.length} early exits`, `${given.length}`);
  }
  const point = given === undefined ? pointWithin(caller, fitted, maxAccuracyLoss) : null;
  const thresholds = given ?? point!.thresholds;
  const device = lent ?? (await openDevice("auto"));
  const closeDevice = async () => {
    if (lent === undefined) await device.close();
  };
  try {
    const staged = await openStaged(device, await exitModelOf(caller, device, model, fitted));
    let released = false;
    return {
      thresholds,
      expectedCost: point?.costFraction ?? null,
      classify: async (x) => {
        if (!released) return staged.classify(x, thresholds);
        const expectation = "the classifier must be open";
        throw new InputError("e2cm.Classifier.classify", expectation, "a released one", "Open it again.");
      },
      release: async () => {
        released = true;
        await staged.release().finally(closeDevice);
      },
    };
  } catch (error) {
    await closeDevice();
    throw error;
  }
}

/** The cheapest operating point whose calibration accuracy is at most `maxAccuracyLoss` below the full network's. */
function pointWithin(caller: string, { operatingPoints, calibration }: FittedExits, maxAccuracyLoss: number) {
  const fullAccuracy = calibration?.fullAccuracy ?? 1;
  const point = cheapestWithin(operatingPoints, fullAccuracy - maxAccuracyLoss);
  if (point !== undefined) return point;
  throw new InputError(
    caller,
    "calibrated exits",
    operatingPoints.length === 0 ? "no operating points" : `none within ${maxAccuracyLoss} of ${fullAccuracy}`,
    "Fit with calibration batches, or pass thresholds.",
  );
}
