import { type Device, InputError, parseOptions, tensor, training } from "@exitkit/core-gpu";
import { type Backbone, type ExitParameters, exitNetwork, heads } from "@exitkit/early-exit";
import { z } from "zod";
import {
  type BriefRunOptions,
  briefRunShape,
  type Cost,
  checkMaterial,
  defaultOptimiser,
  macsOf,
} from "../brief-run/brief-run.ts";
import { EARLY, FINAL, openJointStep, parametersOf } from "../brief-run/joint-step.ts";
import { labelsOf } from "../brief-run/labels-of.ts";
import { scoreColumns } from "../columns/score-columns.ts";
import { drawEpoch, type EpochDraw } from "./draw-epoch.ts";

/** Options of {@link trainSkipping}. */
export interface TrainSkippingOptions extends Omit<BriefRunOptions, "featuresTap" | "onEpoch" | "epochs"> {
  /** Of the whole training. */
  readonly epochs: number;
  /** How likely an easy sample is to be skipped, in [0, 1). Default 0.5. */
  readonly probability?: number;
  /**
   * In [0, 1): a sample is easy whose answers were right at both exits when it was last seen, the early one surer than this. Default:
   * than the mean of all, so that it grows with the network.
   */
  readonly threshold?: number;
  /** The share of the epochs, the last ones, in which nothing is skipped. Default 0.125. */
  readonly wholeAtTheEnd?: number;
}

/** What one epoch of {@link trainSkipping} did. */
export interface SkippingEpoch {
  /** From 0. */
  readonly epoch: number;
  readonly loss: number;
  /** Samples that it trained on. */
  readonly samplesSeen: number;
  /** Samples that were easy. */
  readonly easy: number;
}

/** What {@link trainSkipping} gives. */
export interface TrainedSkipping {
  readonly params: ExitParameters;
  readonly history: readonly SkippingEpoch[];
  readonly cost: Cost;
  /** Share of the samples of a training without skipping that were not trained on. */
  readonly saved: number;
}

const { featuresTap: _, onEpoch: __, epochs: ___, ...shape } = briefRunShape;

const optionsSchema = z.strictObject({
  ...shape,
  epochs: z.int().min(1),
  probability: z.number().min(0).lt(1).default(0.5),
  threshold: z.number().min(0).lt(1).optional(),
  wholeAtTheEnd: z.number().min(0).max(1).default(0.125),
});

/**
 * Prunes while it trains: no second run, and every sample comes back. A sample that both exits answered right and the early one surely
 * when it was last seen is skipped with a probability s; where it is not, its loss counts 1 ÷ (1 − s), so that the gradients of an
 * epoch add up to the same in expectation. The first epoch and the last ones see everything.
 *
 * The learning rate is a function of the steps of a training without skipping: `schedules.oneCycle({ steps: epochs·⌊n ÷ batch⌋, … })`
 * goes through its whole cycle in fewer steps.
 *
 * @throws InputError on an option that is unknown or out of range, and as `briefRun`.
 * Source: Qin et al., "InfoBatch", ICLR 2024: skipping with probability ½ and rescaling, everything in the last eighth of the epochs.
 * Differs: what is easy is said by the exits (right at both, sure at the early one), not by a loss below the mean.
 * @example
 * ```ts
 * import { openDevice, proposeCuts, readModelFile, readSafetensorsFile, tensor, training } from "@exitkit/core-gpu";
 * import { importBackbone } from "@exitkit/early-exit";
 * import { generator, trainSkipping } from "@exitkit/eeprune";
 *
 * const model = await readModelFile("network.onnx");
 * const taps = proposeCuts(model).slice(0, 3);
 * const { train, trainLabels } = (await readSafetensorsFile("pictures.safetensors")).tensors;
 * const y = tensor("int64", trainLabels!.shape, BigInt64Array.from(trainLabels!.data as Int32Array, BigInt));
 *
 * const device = await openDevice("cpu");
 * const options = { tap: taps[1]!, epochs: 4, batchSize: 20, generator: generator(1), learningRate: 0.01 };
 * const data = training.tensorDataset({ x: train!, y });
 * const { saved, history } = await trainSkipping(device, importBackbone(model, { taps }), data, options);
 * await device.close();
 * console.assert(saved > 0 && history.length === 4);
 * ```
 */
export async function trainSkipping(
  device: Device,
  backbone: Backbone,
  data: training.Dataset,
  options: TrainSkippingOptions,
): Promise<TrainedSkipping> {
  const caller = "eeprune.trainSkipping";
  const checked = parseOptions(caller, optionsSchema, options);
  const { epochs, batchSize, probability, threshold, wholeAtTheEnd, lossWeights } = checked;
  const { tap, head = heads.linear(), optimiser = defaultOptimiser(), learningRate, clean = data, signal } = options;
  checkMaterial(caller, device, backbone, data);
  const n = data.size;
  if (n < batchSize) throw new InputError(caller, `at least one batch of ${batchSize} samples is needed`, `${n}`);
  const network = exitNetwork(backbone, [{ tap, head }]);
  const labels = await labelsOf(caller, clean, backbone.classes, signal);
  const random = options.generator.split();
  const params = options.params ?? network.init(random.split());
  const macs = await macsOf(device, network, params);
  const runner = await openJointStep(device, network, params, optimiser, batchSize, lossWeights);
  const known = { right: new Uint8Array(n), confidence: new Float64Array(n) };
  const history: SkippingEpoch[] = [];
  const whole = epochs - Math.round(epochs * wholeAtTheEnd);
  const perEpoch = Math.floor(n / batchSize);
  const begun = performance.now();
  try {
    for (let epoch = 0; epoch < epochs; epoch++) {
      const easy = epoch === 0 || epoch >= whole ? new Uint8Array(n) : easyOf(known, threshold);
      let draw = drawEpoch(easy, probability, random);
      if (draw.rows.length < batchSize) draw = drawEpoch(new Uint8Array(n), 0, random);
      const steps = Math.floor(draw.rows.length / batchSize);
      const { stopped } = await training.train({
        runner,
        data: drawn(data, draw),
        batchSize,
        epochs: 1,
        dropLast: true,
        generator: random.split(),
        learningRate:
          typeof learningRate === "number"
            ? learningRate
            : (step) => learningRate(epoch * perEpoch + Math.floor((step * perEpoch) / steps)),
        collect: [EARLY, FINAL],
        ...(signal === undefined ? {} : { signal }),
        onEpoch: ({ collected, metrics }) => {
          const { outputs, seen } = collected!;
          const own = Int32Array.from(draw.rows, (row) => labels[row]!);
          const [early, final] = [EARLY, FINAL].map((name) => scoreColumns(outputs[name]!, own));
          draw.rows.forEach((row, at) => {
            if (seen.data[at] === 0) return;
            known.right[row] = early!.prediction[at] === own[at] && final!.prediction[at] === own[at] ? 1 : 0;
            known.confidence[row] = early!.confidence[at]!;
          });
          const count = easy.reduce((sum, one) => sum + one, 0);
          history.push({ epoch, loss: metrics.loss!, samplesSeen: steps * batchSize, easy: count });
        },
      });
      if (stopped === "signal") signal?.throwIfAborted();
    }
    const samplesSeen = history.reduce((sum, one) => sum + one.samplesSeen, 0);
    return {
      params: await parametersOf(runner, params),
      history,
      cost: {
        samplesSeen,
        samplesScored: 0,
        macs: 3 * macs * samplesSeen,
        seconds: { training: (performance.now() - begun) / 1000, scoring: 0 },
      },
      saved: 1 - samplesSeen / (epochs * perEpoch * batchSize),
    };
  } finally {
    await runner.release();
  }
}

/** Right at both exits when last seen, and surer than the threshold, by default the mean. */
function easyOf(
  { right, confidence }: { readonly right: Uint8Array; readonly confidence: Float64Array },
  threshold: number | undefined,
): Uint8Array {
  const limit = threshold ?? confidence.reduce((sum, one) => sum + one, 0) / confidence.length;
  return right.map((one, i) => (one === 1 && confidence[i]! > limit ? 1 : 0));
}

/** Those samples of a dataset, with their weights. */
function drawn(data: training.Dataset, { rows, weights }: EpochDraw): training.Dataset {
  return {
    size: rows.length,
    async batch(indices, random) {
      const { x, y } = await data.batch(
        indices.map((at) => rows[at]!),
        random,
      );
      const weight = tensor(
        "float32",
        [indices.length],
        Float32Array.from(indices, (at) => weights[at]!),
      );
      return { x: x!, y: y!, weight };
    },
  };
}
