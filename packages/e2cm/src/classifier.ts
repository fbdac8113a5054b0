import { type Device, InputError, type Model, openDevice, parseOptions, type Tensor } from "@exitkit/core-gpu";
import { type Classification, openStaged } from "@exitkit/early-exit";
import { z } from "zod";
import { cheapestWithin } from "./calibrate.ts";
import { attachExits, checkSameModel } from "./exits.ts";
import type { FittedExits } from "./fittedExits.ts";
import { inspectNetwork } from "./network.ts";

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
   * Classifies x [n, ...]: each picture leaves at the first exit that is sure enough, and nothing behind it is executed.
   *
   * @throws InputError on another shape or dtype than the network takes, or after release.
   */
  classify(x: Tensor): Promise<Classification>;
  /** Frees sessions and, when it was opened here, the device. */
  release(): Promise<void>;
}

const schema = z.strictObject({
  maxAccuracyLoss: z.number().min(0).max(1).default(0.005),
  thresholds: z.array(z.number()).readonly().optional(),
  device: z.custom<Device>().optional(),
});

/**
 * Opens a network with fitted exits for running.
 *
 * @throws InputError when the exits were fitted on another model, no operating point fits, or on unknown options.
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
  const point =
    given === undefined
      ? cheapestWithin(caller, fitted.operatingPoints, fitted.calibration?.fullAccuracy ?? 1, maxAccuracyLoss)
      : null;
  const thresholds = given ?? point!.thresholds;
  const device = lent ?? (await openDevice("auto"));
  const closeDevice = async () => {
    if (lent === undefined) await device.close();
  };
  try {
    const network = await inspectNetwork(caller, device, model, fitted.classes);
    checkSameModel(caller, fitted.modelHash, network.hash);
    const staged = await openStaged(device, attachExits(network, fitted.exits, fitted));
    return {
      thresholds,
      expectedCost: point?.costFraction ?? null,
      classify: (x) => staged.classify(x, thresholds),
      release: async () => {
        await staged.release();
        await closeDevice();
      },
    };
  } catch (error) {
    await closeDevice();
    throw error;
  }
}
