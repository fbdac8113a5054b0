import { checkArguments, InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkCosts, type ExitCosts } from "../costs/cost.ts";
import { checkRecord, type ExitRecord } from "../records/record.ts";
import { ALWAYS, NEVER, type OperatingPoint, replayChecked } from "../records/replay.ts";
import { between } from "./search/problem.ts";

/**
 * For every early exit, how likely it agrees with the full network, as a function of its confidence c:
 * P(agree | c) = 1 / (1 + exp(−(slope·logit c + offset))), logit c = ln((c + 1e−12)/(1 − c + 1e−7)).
 */
export interface Agreement {
  /**
   * `[e − 1]` slope of every early exit, ≥ 0; 0 where confidence says nothing about agreement (it never changes, or the exit is
   * surer where it disagrees): the exit then agrees with one probability, whatever its confidence.
   */
  readonly slopes: readonly number[];
  /** `[e − 1]` offset of every early exit. */
  readonly offsets: readonly number[];
}

/**
 * Fits {@link Agreement} on a record by penalised maximum likelihood (two parameters an exit, Newton's method, ridge 0.01 on
 * the standardised scale). It needs no true labels: what counts is whether the exit answers as the full network does.
 *
 * @throws InputError on a bad record.
 * @example
 * ```ts
 * import { type ExitRecord, fitAgreement } from "@exitkit/early-exit";
 * const record: ExitRecord = {
 *   exits: ["early", "full"],
 *   n: 4,
 *   confidences: [Float32Array.of(0.9, 0.8, 0.4, 0.3), Float32Array.of(1, 1, 1, 1)],
 *   predictions: [Int32Array.of(1, 0, 1, 1), Int32Array.of(1, 0, 0, 0)],
 *   labels: Int32Array.of(1, 0, 0, 0),
 * };
 * console.assert(fitAgreement(record).slopes[0]! > 0);
 * ```
 */
export function fitAgreement(record: ExitRecord): Agreement {
  checkRecord("early-exit.fitAgreement", record);
  const full = record.predictions.at(-1)!;
  const lines = record.exits.slice(0, -1).map((_, j) => {
    const agrees = Float64Array.from(record.predictions[j]!, (answer, i) => (answer === full[i] ? 1 : 0));
    return fitLine(Float64Array.from(record.confidences[j]!, logit), agrees);
  });
  return { slopes: lines.map((line) => line.slope), offsets: lines.map((line) => line.offset) };
}

/** P(exit agrees with the full network) for confidences of early exit j, `[n]`. */
export function agreementOf(agreement: Agreement, j: number, confidences: Float32Array): Float64Array {
  checkArguments("early-exit.agreementOf", {
    agreement: [agreement, { slopes: "a list", offsets: "a list" }],
    j: [j, "a number"],
    confidences: [confidences, "numbers or bigints"],
  });
  const slope = agreement.slopes[j];
  const offset = agreement.offsets[j];
  if (slope === undefined || offset === undefined) {
    throw new InputError("early-exit.agreementOf", `an early exit from 0 to ${agreement.slopes.length - 1}`, `${j}`);
  }
  return Float64Array.from(confidences, (confidence) => sigmoid(slope * logit(confidence) + offset));
}

/**
 * `[e − 1]` the confidences at which every exit agrees with probability τ in (0, 1). Where confidence says nothing about it,
 * ALWAYS for an exit that agrees so often on the whole, else NEVER.
 */
export function confidencesAt({ slopes, offsets }: Agreement, tau: number): readonly number[] {
  const wanted = Math.log(tau / (1 - tau));
  return slopes.map((slope, j) => {
    if (!(slope > 0)) return sigmoid(offsets[j]!) >= tau ? ALWAYS : NEVER;
    const odds = Math.exp((wanted - offsets[j]!) / slope);
    // The inverse of logit.
    return odds === Number.POSITIVE_INFINITY ? NEVER : (odds * (1 + 1e-7) - 1e-12) / (1 + odds);
  });
}

const frontierOptions = z.strictObject({ resolution: z.number().min(0).max(1).default(0.02) });

/**
 * All operating points at which every exit asks for the same probability τ of agreeing with the full network, as
 * thresholds on the exits' own confidences. One number is chosen in place of e − 1, so the choice over-fits a small
 * calibration set far less than free thresholds do ({@link solveThresholds}). At an exit with slope 0 all leave
 * ({@link ALWAYS}) once τ is no higher than its one probability. Every distinct τ of the record is looked at; points that cost
 * more and are not more accurate than another are left out.
 *
 * @param options.resolution In [0, 1], default 0.02: of points whose accuracy losses (against the most accurate) differ by less
 * than this fraction, the more accurate one is returned; 0 returns all.
 * @returns From the cheapest to the most accurate.
 * @throws InputError on a bad record, costs or an agreement that do not fit it, or unknown options.
 */
export function agreementFrontier(
  record: ExitRecord,
  costs: ExitCosts,
  agreement: Agreement,
  options?: { readonly resolution?: number },
): readonly OperatingPoint[] {
  const caller = "early-exit.agreementFrontier";
  const { resolution } = parseOptions(caller, frontierOptions, options);
  checkRecord(caller, record);
  checkCosts(caller, costs, record.exits.length);
  if (agreement.slopes.length !== record.exits.length - 1 || agreement.offsets.length !== record.exits.length - 1) {
    const actual = `${agreement.slopes.length} slopes and ${agreement.offsets.length} offsets`;
    throw new InputError(caller, `an agreement of ${record.exits.length - 1} early exits`, actual, "Use fitAgreement.");
  }
  const falling = agreement.slopes.findIndex((slope) => !(slope >= 0));
  if (falling >= 0) {
    const actual = `${agreement.slopes[falling]} at exit ${falling}`;
    throw new InputError(caller, "an agreement with slopes of at least 0", actual, "Use fitAgreement.");
  }
  const { n, labels, predictions } = record;
  const last = record.exits.length - 1;
  const probabilities = agreement.slopes.map((_, j) => agreementOf(agreement, j, record.confidences[j]!));

  // Lower τ step by step: the samples of one step move to the first exit whose probability is above τ.
  const steps = Uint32Array.from({ length: last * n }, (_, index) => index).sort(
    (a, b) => probabilityAt(b) - probabilityAt(a) || a - b,
  );
  function probabilityAt(index: number): number {
    return probabilities[Math.floor(index / n)]![index % n]!;
  }
  const right = (j: number, i: number) => (predictions[j]![i] === labels[i] ? 1 : 0);
  const exit = new Int32Array(n).fill(last);
  let correct = labels.reduce((sum, _, i) => sum + right(last, i), 0);
  let cost = n * costs.exits[last]!;
  // What each distinct τ gives, without an object for each: there may be as many as units.
  const taus = new Float64Array(steps.length + 1);
  const corrects = new Float64Array(steps.length + 1);
  const costsAt = new Float64Array(steps.length + 1);
  let visited = 0;
  const visit = (tau: number): void => {
    taus[visited] = tau;
    corrects[visited] = correct;
    costsAt[visited++] = cost;
  };
  visit(2);
  for (let at = 0; at < steps.length; ) {
    const tau = probabilityAt(steps[at]!);
    for (; at < steps.length && probabilityAt(steps[at]!) === tau; at++) {
      const j = Math.floor(steps[at]! / n);
      const i = steps[at]! % n;
      if (j >= exit[i]!) continue;
      correct += right(j, i) - right(exit[i]!, i);
      cost += costs.exits[j]! - costs.exits[exit[i]!]!;
      exit[i] = j;
    }
    visit(tau);
  }

  const byCost = Uint32Array.from({ length: visited }, (_, index) => index).sort(
    (a, b) => costsAt[a]! - costsAt[b]! || corrects[b]! - corrects[a]! || a - b,
  );
  let most = -1;
  const undominated = byCost.filter((one) => {
    if (corrects[one]! <= most) return false;
    most = corrects[one]!;
    return true;
  });
  const kept: number[] = [];
  for (const one of undominated.reverse()) {
    const lost = most - corrects[one]!;
    const before = kept.at(-1);
    if (before === undefined || lost - (most - corrects[before]!) >= resolution * lost) kept.push(one);
  }
  return kept.reverse().map((one) => {
    const tau = taus[one]!;
    const thresholds = probabilities.map((row, j) => thresholdFor(record.confidences[j]!, row, tau));
    const { accuracy, meanCost, costFraction } = replayChecked(record, thresholds, costs);
    return { thresholds, accuracy, meanCost, costFraction };
  });
}

/**
 * The threshold that lets exactly the recorded samples with probability ≥ τ leave: midway to the next confidence below, ALWAYS
 * where there is none.
 */
function thresholdFor(confidences: Float32Array, probabilities: Float64Array, tau: number): number {
  let leaving = Number.POSITIVE_INFINITY;
  let staying = Number.NEGATIVE_INFINITY;
  confidences.forEach((confidence, i) => {
    if (probabilities[i]! >= tau) leaving = Math.min(leaving, confidence);
    else staying = Math.max(staying, confidence);
  });
  if (leaving === Number.POSITIVE_INFINITY) return NEVER;
  return staying === Number.NEGATIVE_INFINITY ? ALWAYS : between(staying, leaving);
}

/** The line of {@link newton}, or the best of those without a slope where it falls or x never changes. */
function fitLine(x: Float64Array, target: Float64Array): { slope: number; offset: number } {
  const line = x.every((value) => value === x[0]) ? null : newton(x, target);
  if (line !== null && line.slope > 0) return line;
  return { slope: 0, offset: newton(new Float64Array(x.length), target).offset };
}

/** Two-parameter logistic regression of `target` on `x`, on standardised x. */
function newton(x: Float64Array, target: Float64Array): { slope: number; offset: number } {
  const n = x.length;
  const mean = x.reduce((sum, value) => sum + value, 0) / n;
  const deviation = Math.sqrt(x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / n) || 1;
  const ridge = 0.01;
  let a = 0;
  let b = 0;
  for (let iteration = 0; iteration < 50; iteration++) {
    let gradientA = -ridge * a;
    let gradientB = -ridge * b;
    let aa = ridge;
    let ab = 0;
    let bb = ridge;
    for (let i = 0; i < n; i++) {
      const u = (x[i]! - mean) / deviation;
      const p = sigmoid(a * u + b);
      const weight = p * (1 - p) + 1e-6;
      gradientA += u * (target[i]! - p);
      gradientB += target[i]! - p;
      aa += weight * u * u;
      ab += weight * u;
      bb += weight;
    }
    const determinant = aa * bb - ab * ab;
    const stepA = (bb * gradientA - ab * gradientB) / determinant;
    const stepB = (aa * gradientB - ab * gradientA) / determinant;
    a += stepA;
    b += stepB;
    if (Math.abs(stepA) + Math.abs(stepB) < 1e-10) break;
  }
  return { slope: a / deviation, offset: b - (a * mean) / deviation };
}

function logit(confidence: number): number {
  return Math.log(Math.max(0, confidence) + 1e-12) - Math.log(Math.max(0, 1 - confidence) + 1e-7);
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
