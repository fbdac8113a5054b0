import { createHash } from "node:crypto";
import {
  type Device,
  type Generator,
  InputError,
  layers,
  type optimisers,
  parseOptions,
  type Tensor,
  type TreeRecord,
  tensor,
  training,
} from "@exitkit/core-gpu";
import { z } from "zod";
import { labelsOf } from "../records/labels.ts";
import { checkLossWeights } from "./check-loss-weights.ts";
import { checkParameters } from "./check-parameters.ts";
import type { ExitNetwork, ExitParameters, Trains } from "./exit-network.ts";
import { type Distillation, distillationSchema } from "./exits-loss.ts";
import type { LossWeights } from "./loss-weights.ts";
import { trainingStep } from "./training-step.ts";

/** What is known of a finished epoch. */
export interface ExitEpoch {
  /** From 0. */
  readonly epoch: number;
  /** Steps done since the start of the run. */
  readonly steps: number;
  /** Of the epoch's last step. */
  readonly learningRate: number;
  /** Mean of the weighted loss over the epoch's samples, while the network changes. */
  readonly loss: number;
  /** `[e]`: mean cross-entropy of each exit, without its weight. */
  readonly losses: readonly number[];
  /** `[e]`: share of the epoch's samples that each exit answered right. */
  readonly accuracies: readonly number[];
  /** What `evaluate` gave; empty without it. */
  readonly evaluation: Readonly<Record<string, number>>;
}

/** Options of {@link trainExits}. */
export interface TrainExitsOptions {
  /** `exits`: the heads alone, the backbone frozen with its running statistics; `all`: both. */
  readonly trains: Exclude<Trains, "nothing">;
  /** Where to begin. Default: `network.init` with a split of `generator`. */
  readonly params?: ExitParameters;
  /** Samples of a step; those that do not fill one are left out of an epoch. */
  readonly batchSize: number;
  readonly epochs: number;
  /** Orders the samples, and is split for every batch's augmentation. */
  readonly generator: Generator;
  /** A number, or a function of the number of steps done (see core-gpu's `schedules`). */
  readonly learningRate: number | ((step: number) => number);
  readonly optimiser: optimisers.Optimiser;
  /** Default: 1 for every exit. */
  readonly lossWeights?: LossWeights;
  /** Early exits learn from the last one too, or all exits from a `teacher`. Default: they do not. */
  readonly distillation?: Distillation;
  /**
   * Parameters of the same network, e.g. before it was pruned: with `distillation` all exits, the last too, learn from its last
   * exit, one more forward pass a step. Default: early exits learn from the last one as it is.
   */
  readonly teacher?: ExitParameters;
  /** Whether samples come in another random order in every epoch. Default true. */
  readonly shuffle?: boolean;
  /** Judges the network after every epoch; its numbers go into the history. */
  readonly evaluate?: (context: {
    readonly epoch: number;
    readonly readParams: () => Promise<ExitParameters>;
  }) => Readonly<Record<string, number>> | Promise<Readonly<Record<string, number>>>;
  /** Where and how often the run is saved. The frozen backbone is not in the checkpoints. Default: never. */
  readonly checkpoint?: training.CheckpointOptions;
  /** Go on from the newest checkpoint of the folder, with the same bits; see core-gpu's `training.train`. Default false. */
  readonly resume?: boolean;
  /**
   * What a resumed run may have that the run did not have so far: other `data`, another `program` (network, loss, the optimiser's
   * settings) or another `identity` (parameters of the frozen backbone or of the teacher); see core-gpu's `training.train`. Default: nothing.
   */
  readonly resumeWithOther?: readonly ("data" | "program" | "identity")[];
  /** After every step; its outputs are `loss`, `losses.j` and `accuracies.j` for exit j. `"stop"` ends the run in order. */
  readonly onStep?: (event: training.StepEvent) => unknown;
  /** After the epoch's checkpoint. `"stop"` ends the run in order. */
  readonly onEpoch?: (epoch: ExitEpoch) => unknown;
  /** Ends the run after the step it is in, with a checkpoint. */
  readonly signal?: AbortSignal;
}

/** What {@link trainExits} gives. */
export interface TrainedExits {
  readonly params: ExitParameters;
  readonly history: readonly ExitEpoch[];
  /** Steps done since the start of the run, before a resume too. */
  readonly steps: number;
  readonly stopped: training.StopReason;
}

const caller = "early-exit.trainExits";
const object = z.custom<object>((value) => typeof value === "object" && value !== null, "must be an object");
const callable = z.custom<(...args: never[]) => unknown>((value) => typeof value === "function", "must be a function");
const count = z.int().min(1);

const optionsSchema = z.strictObject({
  trains: z.enum(["exits", "all"]),
  params: object.optional(),
  batchSize: count,
  epochs: count,
  generator: object,
  learningRate: z.union([z.number(), callable]),
  optimiser: object,
  lossWeights: callable.optional(),
  distillation: distillationSchema.optional(),
  teacher: object.optional(),
  shuffle: z.boolean().optional(),
  evaluate: callable.optional(),
  checkpoint: object.optional(),
  resume: z.boolean().optional(),
  resumeWithOther: z.array(z.string()).optional(),
  onStep: callable.optional(),
  onEpoch: callable.optional(),
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * Trains the exits of a network, alone or with the backbone, by gradients of `exitsLoss`. The whole step is one graph;
 * weights of exits are fed, so that a schedule changes nothing of it. With `trains: "exits"` the frozen backbone is part of
 * the compiled step as constants: nothing of it is differentiated or changed.
 *
 * Deterministic: a run that was killed and is resumed has the same bits as one that was not.
 *
 * @param data Samples `x`, as the backbone's input, and whole numbers `y` [n], [n, u] where each takes u decisions. Augmentation is the dataset's affair.
 * @throws InputError on an option that is unknown or out of range, parameters that are not the network's, weights that are
 * not e finite numbers ≥ 0, labels that are not 0 … k − 1; as `training.train` on checkpoints.
 * @throws training.TrainingError when the loss is NaN or infinite, naming the step.
 * @example
 * ```ts
 * import { generator, openDevice, optimisers, proposeCuts, readModelFile, readSafetensorsFile, tensor, training } from "@exitkit/core-gpu";
 * import { exitNetwork, heads, importBackbone, openStaged, toExitModel, trainExits } from "@exitkit/early-exit";
 * const model = await readModelFile("network.onnx");
 * const [, tap] = proposeCuts(model);
 * const network = exitNetwork(importBackbone(model, { taps: [tap!] }), [{ tap: tap!, head: heads.mixedPool() }]);
 *
 * const { train, trainLabels, test } = (await readSafetensorsFile("pictures.safetensors")).tensors;
 * const y = tensor("int64", trainLabels!.shape, BigInt64Array.from(trainLabels!.data as Int32Array, BigInt));
 * const device = await openDevice("cpu");
 * const { params, history } = await trainExits(device, network, training.tensorDataset({ x: train!, y }), {
 *   trains: "exits",
 *   batchSize: 16,
 *   epochs: 3,
 *   generator: generator(1),
 *   optimiser: optimisers.adam(),
 *   learningRate: 0.01,
 * });
 * console.assert(history[2]!.losses[0]! < history[0]!.losses[0]!);
 *
 * const staged = await openStaged(device, toExitModel(network, params));
 * const { leftAt } = await staged.classify(test!, [0.9]);
 * console.assert(leftAt.length === 60);
 * await device.close();
 * ```
 */
export async function trainExits(
  device: Device,
  network: ExitNetwork,
  data: training.Dataset,
  options: TrainExitsOptions,
): Promise<TrainedExits> {
  parseOptions(caller, optionsSchema, options);
  const { trains, batchSize, epochs, generator, optimiser, evaluate, onEpoch } = options;
  const e = network.exits.length + 1;
  const { lossWeights = () => Array<number>(e).fill(1) } = options;
  const weightsAt = (epoch: number, progress: number): Tensor => {
    const weights = lossWeights({ epoch, epochs, progress });
    checkLossWeights(caller, weights, e);
    return tensor("float32", [e], weights);
  };
  weightsAt(0, 0);
  const first = network.init(generator.split());
  const { params = first } = options;
  checkParameters(caller, network, params);
  const learning = learningFrom(network, options);
  const step = trainingStep({ network, params, trains, batchSize, optimiser, ...learning });
  const runner = await device.compile(step.program, {
    state: step.state,
    initial: step.initial,
    constants: step.constants,
    opset: network.backbone.opset,
  });
  const batches = Math.floor(data.size / batchSize);
  const readParams = async (): Promise<ExitParameters> => parametersOf(await runner.readState(), params, trains);
  try {
    const result = await training.train({
      runner,
      data: withCheckedLabels(data, network.backbone.classes),
      batchSize,
      epochs,
      generator,
      dropLast: true,
      learningRate: options.learningRate,
      ...(options.checkpoint === undefined ? {} : { identity: hashOf(step.constants) }),
      feeds: ({ step, epoch }) => ({ weights: weightsAt(epoch, step / (batches * epochs)) }),
      ...given(options, "shuffle", "checkpoint", "resume", "resumeWithOther", "onStep", "signal"),
      ...(evaluate === undefined ? {} : { evaluate: ({ epoch }) => evaluate({ epoch, readParams }) }),
      ...(onEpoch === undefined ? {} : { onEpoch: (event) => onEpoch(epochOf(event, e)) }),
    });
    return {
      params: await readParams(),
      history: result.history.map((record) => epochOf(record, e)),
      steps: result.steps,
      stopped: result.stopped,
    };
  } finally {
    await runner.release();
  }
}

/** Of whom exits learn; a weight of 0 is no distillation, and costs none. */
function learningFrom(network: ExitNetwork, { distillation, teacher }: TrainExitsOptions) {
  if (teacher !== undefined) checkParameters(caller, network, teacher);
  if (teacher !== undefined && distillation === undefined) {
    throw new InputError(caller, "a teacher needs distillation", "none", "Pass distillation: { weight, temperature }.");
  }
  return distillation === undefined || distillation.weight === 0
    ? { distillation: undefined }
    : { distillation, teacher: teacher?.backbone };
}

/** What a checkpoint knows frozen parameters by, the backbone's and a teacher's, which are not in it. */
function hashOf(constants: TreeRecord<Tensor>): string {
  const hash = createHash("sha256");
  for (const [name, { dtype, shape, data }] of Object.entries(layers.flattenParameters(constants))) {
    hash.update(`${name} ${dtype} ${shape.join()} `);
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest("hex");
}

/** The options of these names that were given. */
function given<Key extends keyof TrainExitsOptions>(options: TrainExitsOptions, ...keys: readonly Key[]) {
  const found = keys.filter((key) => options[key] !== undefined).map((key) => [key, options[key]]);
  return Object.fromEntries(found) as Pick<TrainExitsOptions, Key>;
}

function epochOf({ epoch, steps, learningRate, metrics, evaluation }: training.EpochRecord, e: number): ExitEpoch {
  const each = (name: string) => Array.from({ length: e }, (_, j) => metrics[`${name}.${j}`]!);
  return {
    epoch,
    steps,
    learningRate: learningRate!,
    loss: metrics.loss!,
    losses: each("losses"),
    accuracies: each("accuracies"),
    evaluation,
  };
}

/** The runner's parameters, and the frozen ones that it was compiled with. */
function parametersOf(
  state: Readonly<Record<string, Tensor>>,
  like: ExitParameters,
  trains: TrainExitsOptions["trains"],
): ExitParameters {
  if (trains === "all") return layers.unflattenParameters(state, like, "params.");
  return { ...like, ...layers.unflattenParameters(state, { exits: like.exits }, "params.") };
}

function withCheckedLabels(data: training.Dataset, classes: number): training.Dataset {
  return {
    size: data.size,
    async batch(indices, random) {
      const batch = await data.batch(indices, random);
      // Missing labels are the runner's to refuse.
      if (batch.y === undefined) return batch;
      const labels = labelsOf(caller, "labels", batch.y);
      const bad = labels.findIndex((label) => label < 0 || label >= classes);
      if (bad < 0) {
        if (batch.y.dtype === "int64") return batch;
        return { ...batch, y: tensor("int64", batch.y.shape, BigInt64Array.from(labels, BigInt)) };
      }
      const actual = `${labels[bad]} for sample ${indices[Math.floor((bad * indices.length) / labels.length)]}`;
      throw new InputError(caller, `labels must be 0 … ${classes - 1}, as the network has ${classes} classes`, actual);
    },
  };
}
