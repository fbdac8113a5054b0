import { checkArguments, ops, tensor, type Value } from "@exitkit/core-gpu";
import { type Confidence, confidenceOf, confidences } from "../exits/confidence.ts";
import type { LogitsRecord } from "./record-logits.ts";

/** What a gate reads of an exit's logits. */
const FEATURES = ["maxProbability", "margin", "normalisedEntropy"] as const satisfies readonly Confidence[];

/** A learned rule of one exit: it leaves where 1 / (1 + exp(−(Σ_f weights[f]·f(logits) + offset))) > 0.5. */
export interface Gate {
  readonly weights: Readonly<Record<Confidence, number>>;
  readonly offset: number;
}

/** The gates of a network's early exits. Plain data. */
export interface Gates {
  /** What the whole cost of the full network counts, in errors. */
  readonly tradeOff: number;
  /** k, the number of classes. */
  readonly classes: number;
  /** `[e]` names of the exits; the last has no gate. */
  readonly exits: readonly string[];
  /** `[e − 1]` */
  readonly gates: readonly Gate[];
}

/**
 * A gate's value inside a traced program, to be an exit's confidence with threshold 0.5: `[n, k]` → `[n]`, in [0, 1].
 *
 * @param logits `[n, k]`, float32 or float64, k ≥ 2 and known.
 * @throws InputError on another shape.
 */
export function gateConfidence(logits: Value, gate: Gate): Value {
  checkArguments("early-exit.gateConfidence", {
    logits: [logits, "a traced value or a tensor"],
    gate: [gate, { weights: "an object", offset: "a number" }],
  });
  const terms = FEATURES.map((feature) => ops.mul(confidenceOf(logits, feature), gate.weights[feature]));
  return ops.sigmoid(ops.add(terms.reduce(ops.add), gate.offset));
}

/** A gate's score of every sample before the sigmoid, in float64. */
export function gateScores(features: readonly Float64Array[], gate: Gate): Float64Array {
  return features[0]!.map((_, i) =>
    FEATURES.reduce((sum, feature, at) => sum + gate.weights[feature] * features[at]![i]!, gate.offset),
  );
}

/** `[f][n]` what the gate of exit j reads. */
export function gateFeatures({ logits, n, classes }: LogitsRecord, j: number): readonly Float64Array[] {
  const scores = tensor("float32", [n, classes], logits[j]!);
  return FEATURES.map((feature) => confidences(scores, feature));
}
