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
  REJECTED,
} from "@exitkit/early-exit";
import { type DistanceRule, distancesTo, scoresOf } from "../decisions/distances.ts";
import { noveltyOf } from "../decisions/novelty.ts";
import type { Rejection } from "../decisions/rejection.ts";
import { type FeatureMap, features, poolToGrid, secondMoments } from "../network/features.ts";
import { backboneMacs, type Network } from "../network/network.ts";
import type { ClassMeans } from "./class-means.ts";
import type { LinearExit } from "./shared-covariance.ts";

/** Where an early exit stands and what it reads there. */
interface Place {
  readonly tap: string;
  readonly map: FeatureMap;
}

/** Class means of the network's own outputs, by either metric. */
export type OutputExit =
  | (ClassMeans & { readonly metric: "euclidean" })
  | (LinearExit & { readonly metric: "sharedCovariance" });

/** An exit by class means: nearest mean by Euclidean distance. */
export interface ClassMeansExit extends ClassMeans, Place {
  readonly metric: "euclidean";
}

/** An exit by class means with a shared covariance: one linear layer. */
export interface SharedCovarianceExit extends LinearExit, Place {
  readonly metric: "sharedCovariance";
}

/** A fitted exit of either metric. */
export type FittedExit = ClassMeansExit | SharedCovarianceExit;

/** How fitted exits decide. */
export interface DecisionOptions {
  /** Euclidean exits only: how distances become a confidence. Default `normalised`. */
  readonly rule?: DistanceRule;
  /** Euclidean exits only: answer the nearest mean by `raw` distance (the code's choice, default) or by `normalised` ones. */
  readonly predictFrom?: "raw" | "normalised";
  /** The last exit: the network's own `head` (default), or the `nearestMean` of its outputs, which `output` then holds. */
  readonly last?: "head" | "nearestMean";
  /** Class means of the network's outputs. Default none. */
  readonly output?: OutputExit | null;
  /** How samples of no known class are turned away; by distance it needs `output`. Default: they are not. */
  readonly rejection?: Rejection | null;
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
 * With rejection, the prediction of a sample that an exit finds novel is −1, and if every exit may reject, its confidence is 1.
 *
 * @returns The exits in the order given, each named as its tap; the last is `full`. `scores` of a Euclidean exit are its raw distances.
 */
export function attachHeads(
  network: Network,
  exits: readonly FittedExit[],
  {
    rule = "normalised",
    predictFrom = "raw",
    last: answersBy = "head",
    output = null,
    rejection = null,
  }: DecisionOptions = {},
): ExitModel {
  let model: Model = network.model;
  const heads = exits.map((exit, index) => {
    const program = trace(({ x }) => decide(x, exit, { rule, predictFrom, turnAway: turnAwayAt(rejection, index) }), {
      x: spec("float32", ["n", ...exit.map.shape]),
    });
    const part = programToModel(program, { opset: network.opset });
    const attached = attachModel(model, part, { prefix: `e2cm/exit${index}`, inputs: { x: exit.tap } });
    model = attached.model;
    return { name: exit.tap, tap: exit.tap, ...namesOf(attached.outputs) };
  });
  const turnAway = turnAwayAt(rejection, exits.length);
  const last = trace(
    ({ x }) => {
      const byMeans = () => outputScores(x, output!);
      if (answersBy === "nearestMean") return answerFrom(byMeans(), output!, { rule, predictFrom, turnAway });
      const own = answer(x, x);
      return { scores: x, ...(turnAway === null ? own : turnAway(own, byMeans, output)) };
    },
    { x: spec("float32", ["n", network.shapes.get(network.output)![1]!]) },
  );
  const attached = attachModel(model, programToModel(last, { opset: network.opset }), {
    prefix: "e2cm/head",
    inputs: { x: network.output },
  });
  const full = { name: "full", tap: network.output, ...namesOf(attached.outputs) };
  const own = answersBy === "head" ? { ...full, scores: network.output } : full;
  return { model: attached.model, input: network.input, exits: [...heads, own] };
}

function namesOf(outputs: Readonly<Record<string, string>>) {
  return { confidence: outputs.confidence!, prediction: outputs.prediction!, scores: outputs.scores! };
}

interface Answer {
  readonly confidence: Value;
  readonly prediction: Value;
}

/** Changes an exit's answers where its scores say that the sample is novel. */
type TurnAway = (answer: Answer, scores: () => Value, exit: OutputExit | null) => Answer;

interface Decision extends Required<Pick<DecisionOptions, "rule" | "predictFrom">> {
  readonly turnAway: TurnAway | null;
}

function turnAwayAt(rejection: Rejection | null, exit: number): TurnAway | null {
  if (rejection === null) return null;
  return ({ confidence, prediction }, scores, own) => {
    const novelty = rejection.by === "distance" ? noveltyOf(scores(), own!) : ops.sub(1, confidence);
    // Written so that NaN, which compares with nothing, is novel: what is least like anything known must not pass.
    const novel = ops.not(ops.lessOrEqual(novelty, Math.fround(rejection.thresholds[exit]!)));
    return {
      confidence: rejection.at === "everyExit" ? ops.where(novel, 1, confidence) : confidence,
      prediction: ops.where(novel, REJECTED, prediction),
    };
  };
}

/** Scores, confidence and prediction of an early exit. */
function decide(x: Value, exit: FittedExit, decision: Decision) {
  const scores =
    exit.metric === "sharedCovariance"
      ? linearScores(x, exit)
      : distancesTo(features(x, exit.map), exit.means, exit.distances.length);
  return answerFrom(scores, exit, decision);
}

function answerFrom(scores: Value, exit: OutputExit, { rule, predictFrom, turnAway }: Decision) {
  const own = ruled();
  return { scores, ...(turnAway === null ? own : turnAway(own, () => scores, exit)) };

  function ruled(): Answer {
    if (exit.metric === "sharedCovariance") return answer(scores, scores);
    const byRule = scoresOf(rule, scores, exit.distances);
    return answer(byRule, predictFrom === "raw" ? ops.neg(scores) : byRule);
  }
}

function outputScores(x: Value, output: OutputExit): Value {
  if (output.metric === "euclidean") return distancesTo(x, output.means, output.distances.length);
  const k = output.bias.length;
  const weights = tensor("float32", [output.weights.length / k, k], output.weights);
  return ops.add(ops.matmul(x, weights), tensor("float32", [1, k], output.bias));
}

function answer(scores: Value, answersFrom: Value): Answer {
  return { confidence: confidenceOf(scores, "maxProbability"), prediction: predictionOf(answersFrom) };
}

/**
 * x·W + b. The second moments' symmetric halves were counted once in W; here W is unfolded to whole c×c matrices (half the
 * weight to each side), so that nothing has to be gathered at run time.
 */
export function linearScores(x: Value, { map, weights, bias }: SharedCovarianceExit): Value {
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
export function exitOverhead(exit: FittedExit): number {
  const { map } = exit;
  if (exit.metric === "euclidean") return map.macs + classMeansOverhead(exit.distances.length, map.d).macs;
  const unfolded = map.stripes === 0 ? map.d : map.shape[0]! * map.grid ** 2 + map.stripes * map.shape[0]! ** 2;
  return map.macs + unfolded * exit.bias.length;
}

/** MACs a sample that looking for novelty adds: nothing to distances there are, k² and k more distances in a discriminant space. */
function noveltyOverhead(exit: FittedExit): number {
  if (exit.metric === "euclidean") return 0;
  const k = exit.bias.length;
  return k * (k - 1) + classMeansOverhead(k, k - 1).macs;
}

/**
 * Expected-cost table of the exits on a network: backbone up to each tap plus every visited exit's overhead.
 *
 * @param rejecting Whether exits look for novelty too.
 */
export function costsOf(network: Network, exits: readonly FittedExit[], rejecting = false): ExitCosts {
  return exitCosts({
    backbone: [...exits.map((exit) => backboneMacs(network, exit.tap)), network.count.total],
    overheads: exits.map((exit) => exitOverhead(exit) + (rejecting ? noveltyOverhead(exit) : 0)),
  });
}

/** Refuses exits that were fitted on another model. */
export function checkSameModel(
  caller: string,
  fittedOn: string,
  { hash: model, fileHash }: Pick<Network, "hash" | "fileHash">,
): void {
  if (fittedOn === model || fittedOn === fileHash) return;
  throw new InputError(
    caller,
    `the exits were fitted on the model with sha256 ${fittedOn.slice(0, 16)}…`,
    `a model with sha256 ${model.slice(0, 16)}…`,
    "Load the model they belong to, or fit again on this one.",
  );
}
