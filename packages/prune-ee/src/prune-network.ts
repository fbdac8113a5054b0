import {
  type Device,
  type Generator,
  InputError,
  layers,
  type optimisers,
  parseOptions,
  type training,
} from "@exitkit/core-gpu";
import { type ExitNetwork, type ExitParameters, type TrainExitsOptions, trainExits } from "@exitkit/early-exit";
import { z } from "zod";
import { type Criterion, checkCriterion } from "./criteria/criterion.ts";
import { magnitude } from "./criteria/magnitude.ts";
import { loadRound, type Standing, saveRound, trainingFolder } from "./files/round-file.ts";
import { maskedOptimiser } from "./masks/masked-optimiser.ts";
import { applyMasks, type Masks, sparsityOf, totalSparsity } from "./masks/masks.ts";
import { type NextMasksOptions, nextMasks } from "./masks/next-masks.ts";
import { isIn, prunableWeights } from "./masks/weights.ts";
import { type Order, type Phase, phasesOf } from "./orders/phases.ts";
import type { PruningRound } from "./orders/round.ts";

/** How the network is trained after each pruning; see `trainExits` of early-exit. */
export interface FineTuning {
  readonly epochs: number;
  readonly batchSize: number;
  readonly optimiser: optimisers.Optimiser;
  /** A number, or a function of the number of steps done in the round. */
  readonly learningRate: TrainExitsOptions["learningRate"];
  /** Default: 1 for every exit. In the phase of `sequential` that prunes the backbone alone, only the last exit counts. */
  readonly lossWeights?: TrainExitsOptions["lossWeights"];
  /**
   * All exits also learn from the last exit of the network as it came, before anything was pruned: `λ·T²·KL` of softened outputs beside
   * each cross-entropy, one more forward pass a step. Default: they learn from labels alone.
   */
  readonly distillation?: TrainExitsOptions["distillation"];
}

/** Options of {@link pruneNetwork}. */
export interface PruneNetworkOptions {
  /** Parameters of the network to prune, trained ones. */
  readonly params: ExitParameters;
  readonly order: Order;
  /** How the network is trained after each pruning. */
  readonly fineTuning: FineTuning;
  /** Seeded; orders samples, breaks ties. Each round has a stream of its own. */
  readonly random: Generator;
  /** Rounds of each phase. Default 20. 1 with a large `fraction` is one-shot pruning. */
  readonly rounds?: number;
  /** Share of what is left that goes in a round, in (0, 1). Default 0.1; 20 rounds then leave 0.9²⁰ = .1216. */
  readonly fraction?: number;
  /** Whether all weights of a phase are ranked in one list or each layer loses the same share. Default `global`. */
  readonly budget?: NextMasksOptions["budget"];
  /** What is pruned first. Default `criteria.magnitude()`. */
  readonly criterion?: Criterion;
  /**
   * Early parameters that what is left goes back to after each pruning, biases and norms too, before it is fine-tuned. Default: weights
   * are kept as they are.
   */
  readonly rewindTo?: ExitParameters;
  /** Judges the network after every round; its numbers go into the record. */
  readonly evaluate?: (
    params: ExitParameters,
  ) => Readonly<Record<string, number>> | Promise<Readonly<Record<string, number>>>;
  /** Where finished rounds and checkpoints are kept: a run that was killed goes on there. Default: nowhere. */
  readonly folder?: string;
  /** After every round, also after those taken from the folder. `"stop"` ends the run in order. */
  readonly onRound?: (round: PruningRound) => unknown;
  /** Ends the run within a round; with a folder it can go on. */
  readonly signal?: AbortSignal;
}

/** What {@link pruneNetwork} gives. */
export interface PrunedNetwork {
  /** Pruned weights are exactly 0. */
  readonly params: ExitParameters;
  readonly masks: Masks;
  readonly rounds: readonly PruningRound[];
  /** Whether all rounds were done, `onRound` said stop, or the signal came. */
  readonly stopped: "rounds" | "callback" | "signal";
}

const caller = "prune-ee.pruneNetwork";
const object = z.custom<object>((value) => typeof value === "object" && value !== null, "must be an object");
const callable = z.custom<(...args: never[]) => unknown>((value) => typeof value === "function", "must be a function");
const schema = z.strictObject({
  params: object,
  order: z.enum(["together", "sequential", "exitsFirst"]),
  fineTuning: z.strictObject({
    epochs: z.int().min(1),
    batchSize: z.int().min(1),
    optimiser: object,
    learningRate: z.union([z.number(), callable]),
    lossWeights: callable.optional(),
    distillation: object.optional(),
  }),
  random: z.custom<Generator>((value) => typeof (value as Generator | undefined)?.split === "function", {
    message: "must be a generator, e.g. generator(1) of core-gpu",
  }),
  rounds: z.int().min(1).default(20),
  fraction: z.number().gt(0).lt(1).default(0.1),
  budget: z.enum(["global", "perLayer"]).default("global"),
  criterion: object.optional(),
  rewindTo: object.optional(),
  evaluate: callable.optional(),
  folder: z.string().min(1).optional(),
  onRound: callable.optional(),
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * Prunes an early-exit network: round by round the lowest scored weights of backbone and exits go and the rest is fine-tuned. After r
 * rounds of a phase `1 − (1 − fraction)^r` of its weights are 0: .8784 after 20 rounds of a tenth. What was pruned stays 0.
 *
 * Deterministic. With a `folder` a run that was killed anywhere goes on with the same bits.
 *
 * @param data Samples `x`, as the backbone's input, and `y` int64 [n].
 * @throws InputError on an option that is unknown or out of range, parameters that are not the network's or not finite, or a folder
 * with another run. TrainingError of core-gpu when fine-tuning diverges, naming the step.
 * Source: A. Görmez, E. Koyuncu, "Pruning Early Exit Networks", 2022 [S: rounds of magnitude pruning and fine-tuning, both orders; D: a
 * tenth of what is left, all layers ranked together; ?: how long is fine-tuned, and with which loss weights].
 * Differs: see {@link Order} for the last layer's place in `sequential`, and for an order that the paper does not have.
 * @example
 * ```ts
 * import { generator, openDevice, optimisers, proposeCuts, readModelFile, readSafetensorsFile, tensor, training } from "@exitkit/core-gpu";
 * import { exitNetwork, heads, importBackbone, trainExits } from "@exitkit/early-exit";
 * import { pruneNetwork } from "@exitkit/prune-ee";
 * const model = await readModelFile("network.onnx");
 * const [, tap] = proposeCuts(model);
 * const network = exitNetwork(importBackbone(model, { taps: [tap!] }), [{ tap: tap!, head: heads.mixedPool() }]);
 * const { train, trainLabels } = (await readSafetensorsFile("pictures.safetensors")).tensors;
 * const y = tensor("int64", trainLabels!.shape, BigInt64Array.from(trainLabels!.data as Int32Array, BigInt));
 * const data = training.tensorDataset({ x: train!, y });
 *
 * const device = await openDevice("cpu");
 * const fineTuning = { epochs: 1, batchSize: 16, optimiser: optimisers.sgd({ momentum: 0.9 }), learningRate: 0.01 };
 * const { params } = await trainExits(device, network, data, { ...fineTuning, trains: "exits", generator: generator(1) });
 * const pruned = await pruneNetwork(device, network, data, {
 *   params,
 *   order: "together",
 *   rounds: 2,
 *   fraction: 0.5,
 *   fineTuning,
 *   random: generator(2),
 * });
 * console.assert(Math.abs(pruned.rounds[1]!.sparsity - 0.75) < 0.001);
 * await device.close();
 * ```
 */
export async function pruneNetwork(
  device: Device,
  network: ExitNetwork,
  data: training.Dataset,
  options: PruneNetworkOptions,
): Promise<PrunedNetwork> {
  const checked = checkedOptions(network, options);
  const { order, rounds, folder, onRound, signal, random } = checked;
  const steps = phasesOf(order).flatMap((phase) => Array<Phase>(rounds).fill(phase));
  const plan = describe(checked);
  const records: PruningRound[] = [];
  let standing: Pick<Standing, "params" | "masks"> = { params: checked.params, masks: {} };
  const result = (stopped: PrunedNetwork["stopped"]): PrunedNetwork => ({ ...standing, rounds: records, stopped });
  for (const [round, phase] of steps.entries()) {
    // Drawn for finished rounds too, so that a run that goes on draws what it would have drawn.
    const own = random.split();
    let next = folder === undefined ? null : await loadRound(folder, round, plan, checked.params);
    if (next === null) {
      if (signal?.aborted) return result("signal");
      next = await pruneRound({ device, network, data, options: checked, standing, phase, round, random: own });
      if (next === null) return result("signal");
      if (folder !== undefined) await saveRound(folder, plan, next);
    }
    standing = { params: next.params, masks: next.masks };
    records.push(next.record);
    if ((await onRound?.(next.record)) === "stop") return result("callback");
  }
  return result("rounds");
}

type Defaulted = "rounds" | "fraction" | "budget" | "criterion";
type Checked = Omit<PruneNetworkOptions, Defaulted> & {
  readonly [Key in Defaulted]: NonNullable<PruneNetworkOptions[Key]>;
};

function checkedOptions(network: ExitNetwork, options: PruneNetworkOptions): Checked {
  if (typeof network?.apply !== "function") {
    throw new InputError(caller, "an exit network is needed", typeof network, "Pass what exitNetwork gave.");
  }
  const { criterion = magnitude(), ...given } = parseOptions(caller, schema, options) as Omit<Checked, "criterion"> &
    PruneNetworkOptions;
  checkCriterion(caller, criterion);
  prunableWeights(caller, network, given.params, "all");
  return { ...given, criterion };
}

/** What decides a run's rounds, in words; a folder with another run's is refused. Optimisers and data are the caller's affair. */
function describe({ order, rounds, fraction, budget, criterion, fineTuning, random, rewindTo }: Checked): string {
  const { epochs, batchSize, distillation } = fineTuning;
  const seed = random.state().join(" ");
  const rewound = rewindTo === undefined ? "" : ", rewound";
  const taught =
    distillation === undefined ? "" : `, distilled by ${distillation.weight} at ${distillation.temperature}`;
  return `${order}, ${rounds} rounds of ${fraction} ${budget}, ${criterion.name}${rewound}${taught}, ${epochs} epochs in batches of ${batchSize}, generator ${seed}`;
}

interface RoundPlan {
  readonly device: Device;
  readonly network: ExitNetwork;
  readonly data: training.Dataset;
  readonly options: Checked;
  readonly standing: Pick<Standing, "params" | "masks">;
  readonly phase: Phase;
  readonly round: number;
  readonly random: Generator;
}

/** One round: scores, masks, rewinding, fine-tuning. Null where the signal ended it. */
async function pruneRound(plan: RoundPlan): Promise<Standing | null> {
  const { device, network, data, options, standing, phase, round } = plan;
  const { fraction, budget, criterion, fineTuning, evaluate } = options;
  const weights = prunableWeights(caller, network, standing.params, phase.scope);
  const lossWeights = weightsOf(network, phase, fineTuning);
  const [scoring, ties, tuning] = [plan.random.split(), plan.random.split(), plan.random.split()];
  const scores = await criterion.score({
    device,
    network,
    params: standing.params,
    weights,
    trains: phase.trains,
    data,
    lossWeights: lossWeights({ epoch: fineTuning.epochs - 1, epochs: fineTuning.epochs, progress: 1 }),
    random: scoring,
  });
  const { masks, keptOne } = nextMasks(scores, standing.masks, { fraction, budget, random: ties });
  const params = applyMasks(rewound(standing.params, phase, options), masks);
  const tuned = await fineTune(plan, { params, masks, lossWeights, random: tuning });
  if (tuned.stopped === "signal") return null;
  // Exits that did not count in the loss did not learn; weight decay must not have shrunk them either.
  const after = phase.withExits ? tuned.params : { ...tuned.params, exits: params.exits };
  const counted = sparsityOf(after, [...prunableWeights(caller, network, after, "all").keys()]);
  const record: PruningRound = {
    round,
    scope: phase.scope,
    sparsity: totalSparsity(counted),
    layers: counted,
    history: tuned.history,
    evaluation: { ...(await evaluate?.(after)) },
    notes: keptOne.map((path) => `"${path}" would have lost every weight and kept its highest scored one`),
  };
  return { params: after, masks, record };
}

/** What is left of the phase's part goes back to early parameters, if the run does that. */
function rewound(params: ExitParameters, { scope }: Phase, { rewindTo }: Checked): ExitParameters {
  if (rewindTo === undefined) return params;
  const early = layers.flattenParameters(rewindTo);
  const flat = layers.flattenParameters(params);
  const changed = Object.entries(flat).map(([path, now]) => [path, isIn(scope, path) ? (early[path] ?? now) : now]);
  return layers.unflattenParameters(Object.fromEntries(changed), params);
}

function weightsOf({ exits }: ExitNetwork, { withExits }: Phase, { lossWeights }: FineTuning) {
  if (!withExits) return () => [...exits.map(() => 0), 1];
  return lossWeights ?? (() => [...exits.map(() => 1), 1]);
}

async function fineTune(
  { device, network, data, options, phase, round }: RoundPlan,
  from: {
    readonly params: ExitParameters;
    readonly masks: Masks;
    readonly lossWeights: NonNullable<FineTuning["lossWeights"]>;
    readonly random: Generator;
  },
) {
  const { fineTuning, folder, signal } = options;
  const { optimiser, epochs, batchSize, learningRate, distillation } = fineTuning;
  return trainExits(device, network, data, {
    epochs,
    batchSize,
    learningRate,
    optimiser: maskedOptimiser(optimiser, from.masks),
    lossWeights: from.lossWeights,
    trains: phase.trains,
    params: from.params,
    generator: from.random,
    ...(distillation === undefined ? {} : { distillation, teacher: options.params }),
    ...(signal === undefined ? {} : { signal }),
    ...(folder === undefined ? {} : { checkpoint: { folder: trainingFolder(folder, round) }, resume: true }),
  });
}
