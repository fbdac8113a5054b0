import { InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkCosts, type ExitCosts } from "../costs/cost.ts";
import { checkLogits } from "./checks.ts";
import { type Gate, type Gates, gateFeatures, gateScores } from "./gate.ts";
import { logisticRegression } from "./logistic-regression.ts";
import type { LogitsRecord } from "./record-logits.ts";

const schema = z.strictObject({
  tradeOff: z.number().min(0),
  ridge: z.number().gt(0).default(1),
});

/** Samples whose scores lie closer are not parted: rounding in a graph must not decide. */
const GAP = 1e-4;

/** Score of a gate that decides alike for all: a sigmoid of 1, or 2·10⁻⁹. */
const SURE = 20;

/**
 * Learns when to leave, BWDS-style: minimises error + tradeOff · cost / full cost on a record, exit by exit from the last
 * early one back to the first.
 *
 * At exit j, leaving costs a sample s = [exit j is wrong] + tradeOff·cost_j/full; going on costs what the gates behind make of
 * it, g. A logistic regression on the exit's largest probability, margin and normalised entropy (each standardised) tells
 * samples with s < g from the others, each weighing |s − g|; its offset is then moved to where the sum of s over those that leave
 * and of g over the others is least, so that the whole policy is never worse on its record than leaving always at any one exit
 * or never. Where all decide alike the gate is constant. Among equals more leave.
 *
 * Larger trade-offs leave earlier: sweep them for a frontier, `replay(gatedRecord(record, gates), [0.5, ...], costs)` on other
 * samples than these.
 *
 * @param options.tradeOff λ ≥ 0: how many errors a sample the whole cost of the full network is worth. 0.05: saving all of
 * it pays for 5 points.
 * @param options.ridge Penalty on the squared weights against n samples of mean weight 1, > 0, default 1.
 * @throws InputError on a bad record, costs that do not fit it, logits that are not finite, or options out of range.
 * Source: reconstructed. T. Bolukbasi, J. Wang, O. Dekel, V. Saligrama, "Adaptive Neural Networks for Efficient Inference",
 * ICML 2017: early-exit policy, "reducing the policy learning problem to a layer-by-layer weighted binary classification
 * problem" [S: abstract]; that the E²CM authors' "BWDS" is this paper [D]; features, loss and order [?].
 * Differs: the moved offset, which the paper's abstract does not mention.
 * @example
 * ```ts
 * import { fitGates, gatedRecord, type LogitsRecord, replay } from "@exitkit/early-exit";
 * // The early exit is right where it is sure: two of three.
 * const record: LogitsRecord = {
 *   exits: ["early", "full"],
 *   n: 3,
 *   classes: 2,
 *   logits: [Float32Array.of(3, 0, 4, 0, 0.1, 0), Float32Array.of(2, 0, 2, 0, 0, 2)],
 *   confidences: [Float32Array.of(0.95, 0.98, 0.52), Float32Array.of(0.9, 0.9, 0.9)],
 *   predictions: [Int32Array.of(0, 0, 0), Int32Array.of(0, 0, 1)],
 *   labels: Int32Array.of(0, 0, 1),
 * };
 * const costs = { exits: [10, 40], full: 40 };
 * const gates = fitGates(record, costs, { tradeOff: 0.1 });
 * const { accuracy, shares } = replay(gatedRecord(record, gates), [0.5], costs);
 * console.assert(accuracy === 1 && shares[0] === 2 / 3);
 * ```
 */
export function fitGates(
  record: LogitsRecord,
  costs: ExitCosts,
  options: { readonly tradeOff: number; readonly ridge?: number },
): Gates {
  const caller = "early-exit.fitGates";
  checkLogits(caller, record);
  const { exits, n, classes, predictions, labels } = record;
  const e = exits.length;
  checkCosts(caller, costs, e);
  const { tradeOff, ridge } = parseOptions(caller, schema, options);
  if (!Number.isFinite(tradeOff)) throw new InputError(caller, "tradeOff must be finite", `${tradeOff}`);
  const paid = (j: number): Float64Array =>
    Float64Array.from(
      labels,
      (label, i) => (predictions[j]![i] === label ? 0 : 1) + (tradeOff * costs.exits[j]!) / costs.full,
    );

  const gates: Gate[] = [];
  let goingOn = paid(e - 1);
  for (let j = e - 2; j >= 0; j--) {
    const leaving = paid(j);
    const gain = goingOn.map((going, i) => going - leaving[i]!);
    const features = gateFeatures(record, j);
    const learned = moveOffset(features, learn(features, gain, ridge), gain);
    gates.unshift(learned);
    const scores = gateScores(features, learned);
    goingOn = Float64Array.from({ length: n }, (_, i) => (scores[i]! > 0 ? leaving[i]! : goingOn[i]!));
  }
  return { tradeOff, classes, exits, gates };
}

const alike = (offset: number): Gate => ({ weights: { maxProbability: 0, margin: 0, normalisedEntropy: 0 }, offset });

/** The logistic regression of "leaving gains" on standardised features, in terms of the features as they are. */
function learn(features: readonly Float64Array[], gain: Float64Array, ridge: number): Gate {
  const n = gain.length;
  const labels = Uint8Array.from(gain, (value) => (value > 0 ? 1 : 0));
  const weight = gain.map(Math.abs);
  const whole = weight.reduce((sum, value) => sum + value, 0);
  const leavers = weight.reduce((sum, value, i) => sum + (labels[i] === 1 ? value : 0), 0);
  if (leavers === 0 || leavers === whole) return alike(0);
  const scales = features.map((column) => {
    const mean = column.reduce((sum, value) => sum + value, 0) / n;
    const variance = column.reduce((sum, value) => sum + (value - mean) ** 2, 0) / n;
    return { mean, deviation: Math.sqrt(variance) || 1 };
  });
  const standard = features.map((column, f) => column.map((value) => (value - scales[f]!.mean) / scales[f]!.deviation));
  const importance = weight.map((value) => (value * n) / whole);
  const { weights, offset } = logisticRegression(standard, labels, importance, ridge);
  const own = weights.map((value, f) => value / scales[f]!.deviation);
  const [maxProbability, margin, normalisedEntropy] = own as [number, number, number];
  return {
    weights: { maxProbability, margin, normalisedEntropy },
    offset: offset - own.reduce((sum, value, f) => sum + value * scales[f]!.mean, 0),
  };
}

/** The gate with the offset at which the gains of those that leave sum to the most; of equals, that with the most leaving. */
function moveOffset(features: readonly Float64Array[], gate: Gate, gain: Float64Array): Gate {
  const scores = gateScores(features, gate);
  const order = Int32Array.from(scores, (_, i) => i).sort((a, b) => scores[b]! - scores[a]!);
  let best = { gained: 0, leaving: 0 };
  let gained = 0;
  order.forEach((i, place) => {
    gained += gain[i]!;
    const next = order[place + 1];
    const parted = next === undefined || scores[i]! - scores[next]! > GAP;
    // Sums of the same numbers in another order agree to within this.
    if (parted && gained >= best.gained - 1e-12 * order.length)
      best = { gained: Math.max(gained, best.gained), leaving: place + 1 };
  });
  if (best.leaving === 0) return alike(-SURE);
  if (best.leaving === order.length) return alike(SURE);
  const middle = (scores[order[best.leaving - 1]!]! + scores[order[best.leaving]!]!) / 2;
  return { ...gate, offset: gate.offset - middle };
}
