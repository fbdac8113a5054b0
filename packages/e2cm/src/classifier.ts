import {
  checkArguments,
  type Device,
  InputError,
  type Model,
  openDevice,
  parseOptions,
  type RuntimeTensor,
  type Tensor,
} from "@exitkit/core-gpu";
import {
  type Classification,
  type ClassifyOptions,
  cheapestGuarded,
  cheapestWithin,
  NEVER,
  type OperatingPoint,
  openStaged,
  samplesNeeded,
} from "@exitkit/early-exit";
import { z } from "zod";
import type { FittedExits } from "./exits/fitted-exits.ts";
import { FITTED } from "./exits/fitted-exits.ts";
import { exitModelOf } from "./exits/to-exit-model.ts";
import { deviceOption } from "./options.ts";

/** Options of {@link openClassifier}: one of the first three at most. */
export interface ClassifierOptions {
  /**
   * How much accuracy may be lost on new samples, in [0, 1], with the probability 1 − δ that the exits were calibrated for; 0.01 (one
   * point) by default. Decide on it before looking at what it costs.
   */
  readonly maxAccuracyLoss?: number;
  /**
   * How much accuracy is aimed to be lost, in [0, 1]: no more is on the calibration samples, which chose it; on new samples it is often
   * more. Cheaper, and without a guarantee.
   */
  readonly aimedAccuracyLoss?: number;
  /** [e − 1] thresholds of one's own. */
  readonly thresholds?: readonly number[];
  /** Where to run. Default: the best device there is, closed with the classifier. */
  readonly device?: Device;
  /**
   * What is done with rows that hold NaN or an infinity, or overflow in the network: `error` refuses the batch and names them,
   * `reject` answers them `REJECTED` (−1). Default: `reject` where the exits were fitted with `reject`, else `error`.
   */
  readonly onInvalid?: "error" | "reject";
}

/** What is known of the accuracy that a classifier loses on new samples. Plain data. */
export interface Guarantee {
  /** Whether `lossBound` holds with the probability stated. */
  readonly certified: boolean;
  /** Accuracy lost on new samples is at most this, as a fraction of them; null where nothing is known. */
  readonly lossBound: number | null;
  /** 1 − δ; null where nothing is known. */
  readonly probability: number | null;
  /** Whether anything may leave early. */
  readonly leavesEarly: boolean;
  /**
   * What the guarantee costs: mean MACs beyond those of thresholds aimed at the same loss without one, as a fraction of the plain
   * network's. Null where there is no guarantee.
   */
  readonly price: number | null;
  /** All of this in words. */
  readonly words: string;
}

/** A network that stops early. Must be released. */
export interface Classifier {
  /** [e − 1] in use. */
  readonly thresholds: readonly number[];
  /** Mean cost on the calibration samples as a fraction of the plain network's MACs; null for thresholds of one's own. */
  readonly expectedCost: number | null;
  /** What is known of the accuracy lost on new samples. */
  readonly guarantee: Guarantee;
  /**
   * Classifies x [n, ...]: each sample leaves at the first exit that is sure enough, and nothing behind it is executed. Where the
   * exits were fitted with `reject`, the prediction of a sample of no known class is `REJECTED` (−1).
   *
   * @throws InputError on another shape or dtype than the network takes, rows that are no samples (see `onInvalid`), or after release.
   */
  classify(x: Tensor | RuntimeTensor, options?: ClassifyOptions): Promise<Classification>;
  /** Frees sessions and, when it was opened here, the device. Releasing twice is allowed. */
  release(): Promise<void>;
}

const schema = z.strictObject({
  maxAccuracyLoss: z.number().min(0).max(1).optional(),
  aimedAccuracyLoss: z.number().min(0).max(1).optional(),
  thresholds: z.array(z.number()).readonly().optional(),
  device: deviceOption,
  onInvalid: z.enum(["error", "reject"]).optional(),
});

/**
 * Opens a network with fitted exits for running: a sample leaves at the first exit whose confidence is strictly greater
 * than its threshold.
 *
 * Thresholds are the cheapest whose accuracy loss on new samples is at most `maxAccuracyLoss` with probability 1 − δ, over the
 * calibration samples, which must be independent draws of what will be classified. Where too few calibration samples tested for that,
 * nothing leaves early, and `guarantee.words` says so, and how many it takes. `aimedAccuracyLoss` takes thresholds without a guarantee.
 *
 * @throws InputError when the exits were fitted on another model, not calibrated (and no thresholds are given), or have no guarantee
 * (none with `reject`, and in files of earlier versions) and none was renounced; when there are not e − 1 thresholds, or on unknown
 * options or several of the first three.
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
 * const classifier = await openClassifier(model, fitted, { maxAccuracyLoss: 0.1 });
 * console.log(classifier.guarantee.words);
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
  const { thresholds: given, device: lent, onInvalid, ...asked } = parseOptions(caller, schema, options);
  checkArguments(caller, { fitted: [fitted, FITTED] });
  const { maxAccuracyLoss = 0.01, aimedAccuracyLoss } = asked;
  const named = [given, asked.maxAccuracyLoss, aimedAccuracyLoss].filter((option) => option !== undefined);
  if (named.length > 1) {
    const expectation = "one of maxAccuracyLoss, aimedAccuracyLoss and thresholds";
    throw new InputError(caller, expectation, `${named.length} of them`, "They choose the same thing.");
  }
  if (given !== undefined && given.length !== fitted.exits.length) {
    throw new InputError(caller, `thresholds for ${fitted.exits.length} early exits`, `${given.length}`);
  }
  const { thresholds, expectedCost, guarantee } =
    given !== undefined
      ? ownThresholds(given)
      : aimedAccuracyLoss !== undefined
        ? aimed(caller, fitted, aimedAccuracyLoss)
        : guarded(caller, fitted, maxAccuracyLoss);
  const device = lent ?? (await openDevice("auto"));
  const closeDevice = async () => {
    if (lent === undefined) await device.close();
  };
  try {
    const staged = await openStaged(device, await exitModelOf(caller, device, model, fitted), {
      onInvalid: onInvalid ?? (fitted.rejection === null ? "error" : "reject"),
    });
    let released = false;
    return {
      thresholds,
      expectedCost,
      guarantee,
      classify: async (x, options) => {
        if (!released) return staged.classify(x, thresholds, options);
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

interface Choice {
  readonly thresholds: readonly number[];
  readonly expectedCost: number | null;
  readonly guarantee: Guarantee;
}

const UNKNOWN = { certified: false, lossBound: null, probability: null, price: null } as const;

function ownThresholds(thresholds: readonly number[]): Choice {
  const leavesEarly = thresholds.some((threshold) => threshold < NEVER);
  const words = "Nothing is known of the accuracy that thresholds of one's own lose.";
  return { thresholds, expectedCost: null, guarantee: { ...UNKNOWN, leavesEarly, words } };
}

/** The cheapest operating point whose calibration accuracy is at most so much below the full network's. */
function aimed(caller: string, fitted: FittedExits, loss: number): Choice {
  const { thresholds, costFraction } = pointWithin(caller, fitted, loss);
  const words = `Aimed at a loss of ${points(loss)}, which it keeps within on the ${fitted.calibration?.samples} calibration samples that chose it; on new ones it may lose more.`;
  const leavesEarly = thresholds.some((threshold) => threshold < NEVER);
  return { thresholds, expectedCost: costFraction, guarantee: { ...UNKNOWN, leavesEarly, words } };
}

function guarded(caller: string, fitted: FittedExits, loss: number): Choice {
  if (fitted.guarded === null) {
    // Without operating points there is nothing to choose from.
    pointWithin(caller, fitted, 1);
    const reason = fitted.rejection === null ? "none" : "none, as all calibration samples say which are rejected";
    const fix = "Pass aimedAccuracyLoss for thresholds without one.";
    throw new InputError(caller, "calibrated exits with a guarantee", reason, fix);
  }
  const { delta, samples } = fitted.guarded;
  const point = cheapestGuarded(fitted.guarded, loss)!;
  const { thresholds, costFraction, lossBound } = point;
  const leavesEarly = thresholds.some((threshold) => threshold < NEVER);
  const price = costFraction - (cheapestWithin(fitted.operatingPoints, accuracyOf(fitted) - loss)?.costFraction ?? 1);
  const alike = fitted.calibration?.heldOut
    ? " That is of samples like those held out of the training batches; if the network was trained on them it is surer of them than of new ones, so pass calibration samples that it never saw."
    : "";
  const words = leavesEarly
    ? `At most ${points(loss)} of accuracy are lost on new samples, with probability ${1 - delta}, tested on ${samples} calibration samples. ${times(costFraction)} of the plain network's MACs; ${times(price)} more than thresholds aimed at the same loss without a guarantee.${alike}`
    : `Nothing leaves early: a loss of at most ${points(loss)} could not be guaranteed with probability ${1 - delta} by ${samples} testing calibration samples${needed(loss, delta, samples)}. Pass more calibration samples, allow a larger maxAccuracyLoss, or pass aimedAccuracyLoss for thresholds without a guarantee.`;
  const guarantee = { certified: true, lossBound, probability: 1 - delta, leavesEarly, price, words };
  return { thresholds, expectedCost: costFraction, guarantee };
}

function needed(loss: number, delta: number, samples: number): string {
  if (!(loss > 0 && loss < 1)) return "";
  const least = samplesNeeded(loss, delta);
  return least > samples
    ? `; it takes at least ${least}, some ${Math.ceil(least / 0.7)} calibration samples in all`
    : "";
}

function points(loss: number): string {
  const said = Number((100 * loss).toPrecision(3));
  return said === 1 ? "1 point" : `${said} points`;
}

function times(fraction: number): string {
  return fraction.toFixed(2);
}

function accuracyOf({ calibration }: FittedExits): number {
  return calibration?.fullAccuracy ?? 1;
}

function pointWithin(caller: string, fitted: FittedExits, loss: number): OperatingPoint {
  const { operatingPoints } = fitted;
  const point = cheapestWithin(operatingPoints, accuracyOf(fitted) - loss);
  if (point !== undefined) return point;
  throw new InputError(
    caller,
    "calibrated exits",
    operatingPoints.length === 0 ? "no operating points" : `none within ${loss} of ${accuracyOf(fitted)}`,
    "Fit with calibration batches, or pass thresholds.",
  );
}
