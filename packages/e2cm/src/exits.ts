import {
  attachModel,
  InputError,
  type Model,
  ops,
  programToModel,
  spec,
  tensor,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import {
  classMeansOverhead,
  confidenceOf,
  defineExits,
  type ExitCosts,
  type ExitModel,
  exitCosts,
  predictionOf,
} from "@exitkit/early-exit";
import type { ClassMeans } from "./classMeans.ts";
import { type DistanceRule, distancesTo, scoresOf } from "./distances.ts";
import { type FeatureMap, features, poolToGrid, secondMoments } from "./features.ts";
import { backboneMacs, type Network } from "./network.ts";
import type { LinearExit } from "./sharedCovariance.ts";

/** An exit by class means: nearest mean by Euclidean distance. */
export interface ClassMeansExit extends ClassMeans {
  readonly metric: "euclidean";
  readonly tap: string;
  readonly map: FeatureMap;
}

/** An exit by class means with a shared covariance: one linear layer. */
export interface SharedCovarianceExit extends LinearExit {
  readonly metric: "sharedCovariance";
  readonly tap: string;
  readonly map: FeatureMap;
}

/** A fitted exit of either metric. */
export type FittedExit = ClassMeansExit | SharedCovarianceExit;

/** How fitted exits decide. */
export interface DecisionOptions {
  /** Euclidean exits only: how distances become a confidence. Default `normalised`. */
  readonly rule?: DistanceRule;
  /** Euclidean exits only: answer the nearest mean by `raw` distance (the code's choice, default) or by `normalised` ones. */
  readonly predictFrom?: "raw" | "normalised";
  /** The last exit: the network's own `head` (default), or the `nearestMean` of its outputs, which `lastMeans` then holds. */
  readonly lastMeans?: ClassMeans | null;
}

/** {@link attachHeads}, checked to be a network that can run in stages: one exit a tap, in the order of the graph. */
export function attachExits(network: Network, exits: readonly FittedExit[], options: DecisionOptions = {}): ExitModel {
  const attached = attachHeads(network, exits, options);
  return defineExits(attached.model, attached.exits);
}

/**
 * The network with a head at each tap inside its graph: features → scores [n, k] → confidence [n] and prediction [n]. The
 * last exit is the network's own head. Several heads may read the same tap.
 *
 * @returns The exits in the order given. `scores` of a Euclidean exit are its raw distances.
 */
export function attachHeads(
  network: Network,
  exits: readonly FittedExit[],
  { rule = "normalised", predictFrom = "raw", lastMeans = null }: DecisionOptions = {},
): ExitModel {
  let model: Model = network.model;
  const heads = exits.map((exit, index) => {
    const program = trace(({ x }) => decide(x, exit, rule, predictFrom), {
      x: spec("float32", ["n", ...exit.map.shape]),
    });
    const part = programToModel(program, { opset: network.opset });
    const attached = attachModel(model, part, { prefix: `e2cm/exit${index}`, inputs: { x: exit.tap } });
    model = attached.model;
    return { name: exitName(index), tap: exit.tap, ...namesOf(attached.outputs) };
  });
  const k = network.shapes.get(network.output)![1]!;
  const last = trace(
    ({ x }) => {
      if (lastMeans === null) return { scores: x, ...answer(x, x) };
      const distances = distancesTo(x, lastMeans.means, k);
      return { scores: distances, ...answer(scoresOf(rule, distances, lastMeans.distances), ops.neg(distances)) };
    },
    { x: spec("float32", ["n", k]) },
  );
  const attached = attachModel(model, programToModel(last, { opset: network.opset }), {
    prefix: "e2cm/head",
    inputs: { x: network.output },
  });
  const full = { name: "full", tap: network.output, ...namesOf(attached.outputs) };
  const own = lastMeans === null ? { ...full, scores: network.output } : full;
  return { model: attached.model, input: network.input, exits: [...heads, own] };
}

/** Exits are named by their place: `exit1`, `exit2`, …, and `full` for the whole network. */
export function exitName(index: number): string {
  return `exit${index + 1}`;
}

function namesOf(outputs: Readonly<Record<string, string>>) {
  return { confidence: outputs.confidence!, prediction: outputs.prediction!, scores: outputs.scores! };
}

function decide(x: Value, exit: FittedExit, rule: DistanceRule, predictFrom: "raw" | "normalised") {
  if (exit.metric === "sharedCovariance") {
    const scores = linearScores(x, exit);
    return { scores, ...answer(scores, scores) };
  }
  const distances = distancesTo(features(x, exit.map), exit.means, exit.distances.length);
  const scores = scoresOf(rule, distances, exit.distances);
  return { scores: distances, ...answer(scores, predictFrom === "raw" ? ops.neg(distances) : scores) };
}

function answer(scores: Value, answersFrom: Value) {
  return { confidence: confidenceOf(scores, "maxProbability"), prediction: predictionOf(answersFrom) };
}

/**
 * x·W + b. The second moments' symmetric halves were counted once in W; here W is unfolded to whole c×c matrices (half the
 * weight to each side), so that nothing has to be gathered at run time.
 */
function linearScores(x: Value, { map, weights, bias }: SharedCovarianceExit): Value {
  const k = bias.length;
  const offset = tensor("float32", [1, k], bias);
  if (map.stripes === 0) return ops.add(ops.matmul(features(x, map), tensor("float32", [map.d, k], weights)), offset);
  const c = map.shape[0]!;
  const { stripes } = map;
  const pooled = c * map.grid ** 2;
  const unfolded = new Float32Array(stripes * c * c * k);
  let row = pooled;
  for (let stripe = 0; stripe < stripes; stripe++) {
    for (let i = 0; i < c; i++) {
      for (let j = i; j < c; j++, row++) {
        for (let label = 0; label < k; label++) {
          const weight = weights[row * k + label]!;
          const half = i === j ? weight : weight / 2;
          unfolded[((stripe * c + i) * c + j) * k + label] = half;
          unfolded[((stripe * c + j) * c + i) * k + label] = half;
        }
      }
    }
  }
  const moments = ops.reshape(secondMoments(x, map), [x.shape[0]!, stripes * c * c]);
  const fromPooled = ops.matmul(poolToGrid(x, map), tensor("float32", [pooled, k], weights.slice(0, pooled * k)));
  const fromMoments = ops.matmul(moments, tensor("float32", [stripes * c * c, k], unfolded));
  return ops.add(ops.add(fromPooled, fromMoments), offset);
}

/** MACs a sample that one exit adds: making the features, and k distances (K(3d − 1) FLOPs) or one linear layer. */
function exitOverhead(exit: FittedExit): number {
  const { map } = exit;
  if (exit.metric === "euclidean") return map.macs + classMeansOverhead(exit.distances.length, map.d).macs;
  const unfolded = map.stripes === 0 ? map.d : map.shape[0]! * map.grid ** 2 + map.stripes * map.shape[0]! ** 2;
  return map.macs + unfolded * exit.bias.length;
}

/** Expected-cost table of the exits on a network: backbone up to each tap plus every visited exit's overhead. */
export function costsOf(network: Network, exits: readonly FittedExit[]): ExitCosts {
  return exitCosts({
    backbone: [...exits.map((exit) => backboneMacs(network, exit.tap)), network.count.total],
    overheads: exits.map(exitOverhead),
  });
}

/** Refuses exits that were fitted on another model. */
export function checkSameModel(caller: string, fittedOn: string, model: string): void {
  if (fittedOn === model) return;
  throw new InputError(
    caller,
    `the exits were fitted on the model with sha256 ${fittedOn.slice(0, 16)}…`,
    `a model with sha256 ${model.slice(0, 16)}…`,
    "Load the model they belong to, or fit again on this one.",
  );
}
