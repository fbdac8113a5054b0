import { type Device, generator } from "@exitkit/core-gpu";
import { distanceInputs, type FittedExit } from "@exitkit/e2cm";
import {
  branchyNet,
  classMeansOverhead,
  countExitCosts,
  type ExitCosts,
  type ExitMethod,
  type ExitNetwork,
  exitNetwork,
  heads,
  importBackbone,
  shallowDeep,
  type TrainExitsOptions,
  toExitModel,
  trainExits,
} from "@exitkit/early-exit";
import { augmentedPictures } from "../../data/augment.ts";
import { type Material, type RivalNetwork, SDN_PLACES, tapsWithin } from "./network.ts";
import { apart, together } from "./together.ts";

/** Methods whose exits are trained by gradients. */
export type TrainedMethod = "sdn" | "sdn-joint" | "branchynet" | DistanceMethod;

/** Shallow-Deep exits that are given class distances too: the paper's, or those of the package's default metric. */
export type DistanceMethod = "e2cm-sdn" | "e2cm-sdn-shared";

/** By which metric the distances of a method are. */
export const DISTANCES: Readonly<Record<DistanceMethod, FittedExit["metric"]>> = {
  "e2cm-sdn": "euclidean",
  "e2cm-sdn-shared": "sharedCovariance",
};

/** Whether a method is given class distances. */
export function takesDistances(method: string): method is DistanceMethod {
  return Object.hasOwn(DISTANCES, method);
}

/** Where BranchyNet's exits stand: fewer than the others', for each has a convolution of its own. */
const BRANCHES: readonly number[] = [0.15, 0.45, 0.75];
const BRANCH_CHANNELS = 16;

export interface TrainedRival {
  readonly network: ExitNetwork;
  readonly costs: ExitCosts;
  readonly method: ExitMethod;
}

/** The taps that a method's exits read. */
export function tapsOf(network: RivalNetwork, method: TrainedMethod): readonly string[] {
  return tapsWithin(network, method === "branchynet" ? BRANCHES : SDN_PLACES);
}

/**
 * The network of a method.
 *
 * @param means Of a {@link DistanceMethod}: the class means at its taps, by its metric.
 */
export async function trainedRival(
  { device, network }: Material,
  method: TrainedMethod,
  means: readonly FittedExit[] = [],
): Promise<TrainedRival> {
  const joint = method === "sdn-joint" || method === "branchynet";
  const taps = tapsOf(network, method);
  const backbone = importBackbone((joint ? network.whole : network.folded).model, { taps });
  const exits = taps.map((tap, j) => {
    if (method === "branchynet") return { tap, head: heads.conv({ channels: BRANCH_CHANNELS }) };
    if (!takesDistances(method)) return { tap, head: heads.mixedPool() };
    return { tap, head: heads.mixedPool({ extra: distanceInputs(means[j]!) }) };
  });
  const made = exitNetwork(backbone, exits);
  const costs = await costsOf(device, made, means);
  const trains = joint ? "all" : "exits";
  return {
    network: made,
    costs,
    method: method === "branchynet" ? branchyNet(costs) : shallowDeep({ trains, costs }),
  };
}

/** Counted in the graph; of distances, what is no matrix product is added, of pooled features their sums. */
async function costsOf(device: Device, network: ExitNetwork, means: readonly FittedExit[]): Promise<ExitCosts> {
  const { exits, full } = await countExitCosts(device, toExitModel(network, network.init(generator(1))));
  const uncounted = means.map((exit) => {
    if (exit.metric === "sharedCovariance") return exit.map.shape.reduce((product, size) => product * size, 1);
    const k = exit.distances.length;
    return classMeansOverhead(k, exit.map.d).macs - k * exit.map.d;
  });
  const upTo = (exit: number) => uncounted.slice(0, exit + 1).reduce((sum, macs) => sum + macs, 0);
  return { full, exits: exits.map((macs, exit) => macs + upTo(exit)) };
}

/**
 * Trains the exits of a rival, and its backbone where the method does; or the exits of several rivals that leave it frozen, in
 * the same passes.
 *
 * The learning rate is the method's; over several epochs it falls to a tenth after three fifths of the steps, as
 * Shallow-Deep Networks' exits are trained (after 15 of 25 epochs) [S].
 *
 * @param rivals One, or several that are trained by the same method.
 * @returns The parameters of each; the seconds of the whole call, compilation included. Of an interrupted run the mean time of the
 * steps seen stands for all steps; null where none was left.
 */
export async function trainRivals(
  { device, train, normalisation, augmentation, batch }: Material,
  rivals: readonly TrainedRival[],
  options: Pick<TrainExitsOptions, "epochs" | "checkpoint" | "onStep"> & { readonly seed: number },
) {
  const { seed, epochs, onStep } = options;
  const networks = rivals.map(({ network }) => network);
  const { training } = rivals[0]!.method;
  const { learningRate } = training;
  const falls = 0.6 * Math.floor(train.n / batch) * epochs;
  const falling = (step: number) =>
    (typeof learningRate === "number" ? learningRate : learningRate(step)) * (step < falls ? 1 : 0.1);
  const begun = performance.now();
  const seen = { steps: 0, first: 0, last: 0 };
  const network = together(networks);
  const { params, steps } = await trainExits(device, network, augmentedPictures(train, normalisation, augmentation), {
    ...training,
    lossWeights: weightsTogether(rivals),
    learningRate: epochs === 1 ? learningRate : falling,
    batchSize: batch,
    epochs,
    generator: generator(seed),
    ...(options.checkpoint === undefined ? {} : { checkpoint: options.checkpoint, resume: true }),
    onStep: (event) => {
      seen.last = performance.now();
      if (seen.steps++ === 0) seen.first = seen.last;
      return onStep?.(event);
    },
  });
  const each = apart(networks, params);
  if (seen.steps === 0) return { params: each, seconds: null };
  const aStep = seen.steps === 1 ? 0 : (seen.last - seen.first) / (seen.steps - 1);
  return { params: each, seconds: (performance.now() - begun + (steps - seen.steps) * aStep) / 1000 };
}

/** Each rival's own weights of its early exits, and the first one's of the last exit, which is the same for all. */
function weightsTogether(rivals: readonly TrainedRival[]): NonNullable<TrainExitsOptions["lossWeights"]> {
  return (at) => {
    const each = rivals.map(({ method }) => method.training.lossWeights(at));
    return [...each.flatMap((weights) => weights.slice(0, -1)), each[0]!.at(-1)!];
  };
}
