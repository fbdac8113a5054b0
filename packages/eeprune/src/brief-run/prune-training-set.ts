import { type Device, parseOptions, type training } from "@exitkit/core-gpu";
import type { Backbone } from "@exitkit/early-exit";
import { z } from "zod";
import { checkAmount, type PruneOptions, pruneByEarlyExit } from "../criterion/prune-by-early-exit.ts";
import { balanceOption, ratioOption, vanishingOption } from "../options.ts";
import { type Balance, groupsOf } from "../selection/groups.ts";
import { countOf, type Selection } from "../selection/selection.ts";
import { type BriefRun, type BriefRunOptions, briefRunShape, openBriefRun } from "./brief-run.ts";

/** Options of {@link pruneTrainingSet}. */
export interface PruneTrainingSetOptions extends BriefRunOptions, Omit<PruneOptions, "classes" | "generator"> {
  /** Where `shortfall` is `trainLonger`: the most epochs, the brief run's included. Default 3 times those. */
  readonly maxEpochs?: number;
}

/** What {@link pruneTrainingSet} gives. */
export interface PrunedTrainingSet {
  readonly selection: Selection;
  /** The run that chose, with its scores and its cost. */
  readonly run: BriefRun;
}

const optionsSchema = z.strictObject({
  ...briefRunShape,
  ratio: ratioOption.optional(),
  threshold: z.number().min(0).lt(1).optional(),
  shortfall: z.enum(["stop", "fillByEarlyConfidence", "trainLonger"]).default("stop"),
  balanced: balanceOption,
  variant: z.enum(["confidence", "loss", "soft"]).default("confidence"),
  vanishing: vanishingOption,
  maxEpochs: z.int().min(1).optional(),
});

/**
 * EEPrune from end to end: `briefRun`, then `pruneByEarlyExit` on what the exits say at its end.
 *
 * With `shortfall: "trainLonger"` it trains on, an epoch at a time, until enough samples meet the criterion or `maxEpochs` are
 * done; the learning rate goes on as its function says.
 *
 * @throws InputError as `briefRun` and `pruneByEarlyExit` do.
 * @example
 * ```ts
 * import { generator, openDevice, proposeCuts, readModelFile, readSafetensorsFile, tensor, training } from "@exitkit/core-gpu";
 * import { importBackbone } from "@exitkit/early-exit";
 * import { pruneTrainingSet } from "@exitkit/eeprune";
 *
 * const model = await readModelFile("network.onnx");
 * const taps = proposeCuts(model).slice(0, 3);
 * const { train, trainLabels } = (await readSafetensorsFile("pictures.safetensors")).tensors;
 * const y = tensor("int64", trainLabels!.shape, BigInt64Array.from(trainLabels!.data as Int32Array, BigInt));
 *
 * const device = await openDevice("cpu");
 * const { selection, run } = await pruneTrainingSet(
 *   device,
 *   importBackbone(model, { taps }),
 *   training.tensorDataset({ x: train!, y }),
 *   { tap: taps[1]!, epochs: 3, batchSize: 20, generator: generator(1), learningRate: 0.002, ratio: 0.3 },
 * );
 * await device.close();
 * console.assert(selection.pruned.every((i) => run.early.prediction[i] === run.labels[i]));
 * ```
 */
export async function pruneTrainingSet(
  device: Device,
  backbone: Backbone,
  data: training.Dataset,
  options: PruneTrainingSetOptions,
): Promise<PrunedTrainingSet> {
  const caller = "eeprune.pruneTrainingSet";
  const checked = parseOptions(caller, optionsSchema, options);
  const { epochs, ratio, threshold, shortfall, balanced, variant, vanishing, maxEpochs = 3 * epochs } = checked;
  checkAmount(caller, ratio, threshold);
  const open = await openBriefRun(caller, device, backbone, data, options);
  try {
    await open.train(epochs);
    let run = await open.result();
    if (shortfall === "trainLonger" && ratio !== undefined) {
      while (run.epochs.length < maxEpochs && missingFor(run, ratio, balanced) > 0) {
        await open.train(1);
        run = await open.result();
      }
    }
    const { labels, early, final, classes } = run;
    const selection = pruneByEarlyExit(
      {
        labels,
        earlyPrediction: early.prediction,
        finalPrediction: final.prediction,
        earlyConfidence: early.confidence,
        earlyLoss: early.loss,
      },
      {
        classes,
        ...(ratio === undefined ? { threshold: threshold! } : { ratio }),
        shortfall,
        balanced,
        variant,
        vanishing,
        generator: options.generator,
      },
    );
    return { selection, run };
  } finally {
    await open.release();
  }
}

/** How many samples fewer than the ratio asks for are right at both exits. */
function missingFor({ labels, early, final, classes }: BriefRun, ratio: number, balanced: Balance): number {
  const wrong = labels.map((label, i) => (early.prediction[i] === label ? 0 : 1));
  const lacking = groupsOf(labels, classes, countOf(labels.length, ratio), balanced, wrong).map(({ rows, count }) => {
    const right = rows.filter((i) => early.prediction[i] === labels[i] && final.prediction[i] === labels[i]);
    return Math.max(0, count - right.length);
  });
  return lacking.reduce((sum, one) => sum + one, 0);
}
