import {
  type Device,
  type Generator,
  InputError,
  optimisers,
  parseOptions,
  type Tensor,
  tensor,
  training,
} from "@exitkit/core-gpu";
import {
  type Backbone,
  countExitCosts,
  type ExitNetwork,
  type ExitParameters,
  exitNetwork,
  heads,
  toExitModel,
} from "@exitkit/early-exit";
import { z } from "zod";
import { type ScoreColumns, scoreColumns } from "../columns/score-columns.ts";
import { callbackOption, deviceOption, generatorOption, having } from "../options.ts";
import { EARLY, FINAL, openJointStep, parametersOf } from "./joint-step.ts";
import { labelsOf } from "./labels-of.ts";
import { scoreSamples } from "./score-samples.ts";

/** What the exits said about the samples in one epoch, each right before the step that it was part of. */
export interface EpochColumns {
  readonly early: ScoreColumns;
  readonly final: ScoreColumns;
  /** `[n]`: 0 where a sample was left out of this epoch, because it did not fill a batch; its row means nothing then. */
  readonly seen: Uint8Array;
}

/** What a choice of samples costs. */
export interface Cost {
  /** Samples that training steps saw, each as often as it was seen. */
  readonly samplesSeen: number;
  /** Samples that were scored. */
  readonly samplesScored: number;
  /** Multiply-accumulates of all of that: a training step counts as three forward passes of its samples [D]. */
  readonly macs: number;
  /** Wall clock: training, and what scoring adds to it. */
  readonly seconds: { readonly training: number; readonly scoring: number };
}

/** What {@link briefRun} gives: evidence for `pruneBy` and what it cost. Samples are numbered as in the dataset. */
export interface BriefRun {
  /** `[n]` */
  readonly labels: Int32Array;
  /** k */
  readonly classes: number;
  /** At the end, in evaluation mode. */
  readonly early: ScoreColumns;
  /** At the end, in evaluation mode. */
  readonly final: ScoreColumns;
  /** While it trained, an entry for each epoch; for what needs several. */
  readonly epochs: readonly EpochColumns[];
  /** `[n, d]` at the end; null without `featuresTap`. */
  readonly features: Tensor<"float32"> | null;
  readonly params: ExitParameters;
  readonly cost: Cost;
}

/** Options of {@link briefRun}. */
export interface BriefRunOptions {
  /** Where the early exit reads, one of the backbone's taps. About the middle is best [S: the paper's table of places]. */
  readonly tap: string;
  /** Default: `heads.linear()`, global average pooling and a linear layer [D]. */
  readonly head?: heads.Head;
  /** Default 10, of runs of 200 [D: from the paper's energies and its toy figure]. */
  readonly epochs?: number;
  /** Samples of a step; those that do not fill one are left out of an epoch. Default 128. */
  readonly batchSize?: number;
  /** Starts the exit, and orders the samples. */
  readonly generator: Generator;
  /** Where to begin. Default: the backbone's own parameters and a fresh exit. */
  readonly params?: ExitParameters;
  /** Default: SGD with Nesterov momentum 0.9 and weight decay 5·10⁻⁴ on matrices and filters. */
  readonly optimiser?: optimisers.Optimiser;
  /** A number, or a function of the number of steps done (see core-gpu's `schedules`). */
  readonly learningRate: number | ((step: number) => number);
  /** Weights of the early and the final exit's loss. Default [1, 1] [D]. */
  readonly lossWeights?: readonly [number, number];
  /** The same samples without augmentation, to be scored. Default: `data`, which is refused where it augments. */
  readonly clean?: training.Dataset;
  /** A tap whose features, averaged over their places, are wanted of every sample. Default: none. */
  readonly featuresTap?: string;
  /** Called after every epoch, from 1. */
  readonly onEpoch?: (epoch: number, loss: number) => unknown;
  /** Ends the call after the batch it is in: it rejects with the signal's reason, the device can be used on. */
  readonly signal?: AbortSignal;
}

const pairOfWeights = z.tuple([z.number().min(0), z.number().min(0)]);

/** Schema of {@link BriefRunOptions}. */
export const briefRunShape = {
  tap: z.string(),
  head: having(["init", "apply"], "must be a head: heads.linear()").optional(),
  epochs: z.int().min(1).default(10),
  batchSize: z.int().min(1).default(128),
  generator: generatorOption,
  params: z.custom<object>((value) => typeof value === "object" && value !== null, "must be a record").optional(),
  optimiser: having(["init", "update"], "must be an optimiser: optimisers.sgd()").optional(),
  learningRate: z.union([z.number().min(0), callbackOption()]),
  lossWeights: pairOfWeights.default([1, 1]),
  clean: having(["batch"], "must be a dataset").optional(),
  featuresTap: z.string().optional(),
  onEpoch: callbackOption().optional(),
  signal: z.instanceof(AbortSignal).optional(),
};

/** A brief training that can go on. */
export interface OpenBriefRun {
  /** Trains some more epochs. */
  train(epochs: number): Promise<void>;
  /** Scores all samples as the network is now. */
  result(): Promise<BriefRun>;
  release(): Promise<void>;
}

/**
 * Puts one early exit on a backbone and trains both together for a few epochs, then scores every sample in evaluation mode,
 * without augmentation. What the exits said while they trained is kept by epoch and sample, without further passes: forgetting,
 * the area under the margin and others live on it.
 *
 * @param data Samples `x`, as the backbone's input, and `y` int64 [n]; may augment, with `clean` beside it.
 * @throws InputError on an option that is unknown or out of range, an unknown tap, fewer samples than a batch, labels that are not
 * 0 … k − 1, or samples to score that change at random.
 * @throws training.TrainingError when the loss is NaN or infinite, naming the step.
 * Source: Görmez, Koyuncu, "Dataset Pruning Using Early Exit Networks", ACM TIST 17(1), 2026: one exit, trained jointly for a few
 * epochs [S]; the number of epochs, the head and equal weights of the losses [D].
 * @example
 * ```ts
 * import { generator, openDevice, readModelFile, readSafetensorsFile, tensor, training } from "@exitkit/core-gpu";
 * import { importBackbone } from "@exitkit/early-exit";
 * import { proposeCuts } from "@exitkit/core-gpu";
 * import { briefRun, pruneBy } from "@exitkit/eeprune";
 *
 * const model = await readModelFile("network.onnx");
 * const taps = proposeCuts(model).slice(0, 3);
 * const { train, trainLabels } = (await readSafetensorsFile("pictures.safetensors")).tensors;
 * const y = tensor("int64", trainLabels!.shape, BigInt64Array.from(trainLabels!.data as Int32Array, BigInt));
 * const data = training.tensorDataset({ x: train!, y });
 *
 * const device = await openDevice("cpu");
 * const options = { tap: taps[1]!, epochs: 3, batchSize: 20, generator: generator(1), learningRate: 0.002 };
 * const run = await briefRun(device, importBackbone(model, { taps }), data, options);
 * await device.close();
 * const { kept } = pruneBy("forgetting", run, { ratio: 0.3, generator: generator(2) });
 * console.assert(kept.length === Math.round(0.7 * data.size) && run.epochs.length === 3);
 * ```
 */
export async function briefRun(
  device: Device,
  backbone: Backbone,
  data: training.Dataset,
  options: BriefRunOptions,
): Promise<BriefRun> {
  const caller = "eeprune.briefRun";
  const { epochs } = parseOptions(caller, z.strictObject(briefRunShape), options);
  const run = await openBriefRun(caller, device, backbone, data, options);
  try {
    await run.train(epochs);
    return await run.result();
  } finally {
    await run.release();
  }
}

/** A brief run whose options were checked. */
export async function openBriefRun(
  caller: string,
  device: Device,
  backbone: Backbone,
  data: training.Dataset,
  options: BriefRunOptions,
): Promise<OpenBriefRun> {
  checkMaterial(caller, device, backbone, data);
  const {
    tap,
    head = heads.linear(),
    batchSize = 128,
    learningRate,
    clean = data,
    featuresTap,
    onEpoch,
    signal,
  } = options;
  const { lossWeights = [1, 1], optimiser = defaultOptimiser() } = options;
  if (featuresTap !== undefined && !Object.hasOwn(backbone.taps, featuresTap)) {
    const known = Object.keys(backbone.taps).join(", ");
    throw new InputError(caller, `featuresTap must be a tap of the backbone (${known})`, `"${featuresTap}"`);
  }
  const n = data.size;
  if (clean.size !== n) throw new InputError(caller, `clean must have the ${n} samples of data`, `${clean.size}`);
  if (n < batchSize) throw new InputError(caller, `at least one batch of ${batchSize} samples is needed`, `${n}`);
  const network = exitNetwork(backbone, [{ tap, head }]);
  const labels = await labelsOf(caller, clean, backbone.classes, signal);
  const random = options.generator.split();
  const params = options.params ?? network.init(random.split());
  const macs = await macsOf(device, network, params);
  const runner = await openJointStep(device, network, params, optimiser, batchSize, lossWeights);
  const epochs: EpochColumns[] = [];
  let [steps, trainingSeconds, scoringSeconds, samplesScored] = [0, 0, 0, 0];
  return {
    async train(count) {
      const begun = performance.now();
      const before = { steps, epochs: epochs.length };
      const { stopped } = await training.train({
        runner,
        data: withWeights(data),
        batchSize,
        epochs: count,
        dropLast: true,
        generator: random.split(),
        learningRate: typeof learningRate === "number" ? learningRate : (step) => learningRate(before.steps + step),
        collect: [EARLY, FINAL],
        ...(signal === undefined ? {} : { signal }),
        onEpoch: async ({ collected, metrics, epoch }) => {
          const { outputs, seen } = collected!;
          epochs.push({
            early: scoreColumns(outputs[EARLY]!, labels),
            final: scoreColumns(outputs[FINAL]!, labels),
            seen: seen.data.slice(),
          });
          await onEpoch?.(before.epochs + epoch + 1, metrics.loss!);
        },
      });
      if (stopped === "signal") signal?.throwIfAborted();
      steps += count * Math.floor(n / batchSize);
      trainingSeconds += (performance.now() - begun) / 1000;
    },
    async result() {
      const begun = performance.now();
      const reached = await parametersOf(runner, params);
      const scored = await scoreSamples(device, network, reached, clean, labels, featuresTap, signal);
      scoringSeconds += (performance.now() - begun) / 1000;
      samplesScored += n;
      const samplesSeen = steps * batchSize;
      return {
        labels,
        classes: backbone.classes,
        ...scored,
        epochs: [...epochs],
        params: reached,
        cost: {
          samplesSeen,
          samplesScored,
          macs: macs * (3 * samplesSeen + samplesScored),
          seconds: { training: trainingSeconds, scoring: scoringSeconds },
        },
      };
    },
    release: () => runner.release(),
  };
}

/** @throws InputError where the first arguments are not what they should be. */
export function checkMaterial(caller: string, device: unknown, backbone: unknown, data: unknown): void {
  const wrong = [
    deviceOption.safeParse(device),
    having(["apply", "toModel"], "backbone must be one of programBackbone or importBackbone").safeParse(backbone),
    having(["batch"], "data must be a dataset: training.tensorDataset makes one of tensors").safeParse(data),
  ].find(({ success }) => !success);
  if (wrong === undefined) return;
  const [what] = wrong.error!.issues;
  throw new InputError(caller, what!.message, "something else");
}

/** MACs of a sample that goes through the network and its early exit. */
export async function macsOf(device: Device, network: ExitNetwork, params: ExitParameters): Promise<number> {
  return (await countExitCosts(device, toExitModel(network, params))).exits.at(-1)!;
}

/** What trains where nothing else was asked for. */
export function defaultOptimiser(): optimisers.Optimiser {
  return optimisers.sgd({ momentum: 0.9, nesterov: true, weightDecay: 5e-4, mask: (_, { shape }) => shape.length > 1 });
}

/** Every sample counts once. */
function withWeights(data: training.Dataset): training.Dataset {
  return {
    size: data.size,
    async batch(indices, random) {
      const { x, y } = await data.batch(indices, random);
      return { x: x!, y: y!, weight: tensor("float32", [indices.length], new Float32Array(indices.length).fill(1)) };
    },
  };
}
