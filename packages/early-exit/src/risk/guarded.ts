import { type Generator, InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkCosts, type ExitCosts } from "../costs/cost.ts";
import { checkClasses, checkRecord, type ExitRecord, selectRows } from "../records/record.ts";
import { NEVER, type OperatingPoint, replayChecked } from "../records/replay.ts";
import { meanIsBelow } from "./betting.ts";
import { drawsOf } from "./draws.ts";
import { lossesOf } from "./losses.ts";
import { pathOf } from "./path.ts";

/** An operating point, and how much accuracy it may lose on samples to come. Accuracy and cost are of the samples that tested it. */
export interface GuardedPoint extends OperatingPoint {
  /**
   * Accuracy lost on samples to come, as a fraction of them, that is exceeded with probability δ at most; 0 where nothing leaves early.
   * For a loss that was decided on before: see {@link guardedPoints}.
   */
  readonly lossBound: number;
}

/** Operating points of one network, each with a bound on what it loses. Plain data. */
export interface Guarded {
  /** δ: probability, over the samples that tested, that the point chosen for some loss exceeds it. */
  readonly delta: number;
  /** Samples (or groups) that tested. */
  readonly samples: number;
  /** From the most cautious to the boldest; `lossBound` never falls. */
  readonly points: readonly GuardedPoint[];
}

/** Options of {@link guardedPoints}. */
export interface GuardedOptions {
  /** δ in (0, 1). Default 0.1. */
  readonly delta?: number;
  /** Seeded; puts the samples in random order. Advanced. */
  readonly random: Generator;
  /** Fraction of the samples (or groups) that find the path, in (0, 1); the others test it. Default 0.3. */
  readonly pathShare?: number;
  /**
   * Which units find the path, where some have been used before, to choose between networks or exits say: all that were must be among
   * them. The others test. Default: a random `pathShare`.
   */
  readonly pathUnits?: Int32Array;
  /** `[n]` what the network that accuracy is compared with answers; see {@link calibrate}. Default: the last exit's answers. */
  readonly reference?: Int32Array;
}

const schema = z.strictObject({
  delta: z.number().gt(0).lt(1).default(0.1),
  random: z.custom<Generator>((value) => typeof (value as Generator | undefined)?.permutation === "function", {
    message: "must be a generator, e.g. generator(1) of core-gpu",
  }),
  pathShare: z.number().gt(0).lt(1).default(0.3),
  pathUnits: z.instanceof(Int32Array, { message: "must be an Int32Array" }).optional(),
  reference: z.instanceof(Int32Array, { message: "must be an Int32Array" }).optional(),
});

/** Losses that bounds are looked for among, falling: 0.05 points apart up to two points. */
const LEVELS: readonly number[] = [
  0.5,
  0.3,
  0.2,
  0.15,
  ...Array.from({ length: 17 }, (_, step) => (20 - step) / 200),
  ...Array.from({ length: 40 }, (_, step) => (40 - step) / 2000),
];

/**
 * Operating points with a guarantee for whatever loss is asked for: whoever decides on a loss of at most α beforehand and takes
 * {@link cheapestGuarded} loses more than α of accuracy on samples to come with probability δ at most, over the samples of the record;
 * whatever the network, its exits and the distribution are.
 *
 * It is {@link calibrate}'s guarantee for the risk `loss`, kept for all α at once: a path of thresholds from cautious to bold is found
 * on a share of the samples. For each of its points the others give an upper confidence bound of the accuracy lost: the smallest of
 * some sixty levels at which, and at all above, a bet against "the loss is so much or more" is won at level δ. A point's `lossBound`
 * is the largest of those up to it. So a point is chosen for α only where no point before it failed at α, which is fixed-sequence
 * testing: nothing is lost to the number of points.
 *
 * The record's samples must be independent draws of what will be classified (its groups, where it has them), none used to train the
 * network or its exits. The guarantee is for one α: taking the loss that happens to look best afterwards is not covered by it.
 * Few samples certify little: a loss of α needs {@link samplesNeeded} tests that lose nothing at the very least, 306 for one point with
 * δ = 0.1 and 613 for half a point.
 *
 * @returns Nothing leaving early, with bound 0 (not with a `reference`, against which the last exit may lose), and the points that
 * some level below 1 could be certified for.
 * @throws InputError on a bad record, costs that do not increase, options out of range or too few samples to split.
 * Source: as {@link calibrate}. Differs: bounds for all levels from one pass over the path [D].
 * @example
 * ```ts
 * import { generator } from "@exitkit/core-gpu";
 * import { cheapestGuarded, type ExitRecord, guardedPoints } from "@exitkit/early-exit";
 * // 1,000 samples; the early exit is sure of nine in ten, and right about them.
 * const sure = (i: number) => i % 10 > 0;
 * const n = 1000;
 * const record: ExitRecord = {
 *   exits: ["early", "full"],
 *   n,
 *   confidences: [
 *     Float32Array.from({ length: n }, (_, i) => (sure(i) ? 0.9 : 0.3) + i / 1e5),
 *     new Float32Array(n).fill(0.9),
 *   ],
 *   predictions: [Int32Array.from({ length: n }, (_, i) => (sure(i) ? 1 : 0)), new Int32Array(n).fill(1)],
 *   labels: new Int32Array(n).fill(1),
 * };
 * const guarded = guardedPoints(record, { exits: [10, 40], full: 40 }, { random: generator(1) });
 * const chosen = cheapestGuarded(guarded, 0.01)!;
 * console.assert(chosen.lossBound <= 0.01 && chosen.costFraction < 0.4);
 * ```
 */
export function guardedPoints(record: ExitRecord, costs: ExitCosts, options: GuardedOptions): Guarded {
  const caller = "early-exit.guardedPoints";
  checkRecord(caller, record);
  const e = record.exits.length;
  checkCosts(caller, costs, e);
  const { delta, random, pathShare, pathUnits, reference } = parseOptions(caller, schema, options);
  if (reference !== undefined) checkClasses(caller, "reference", reference, record.n);
  const comparedWith = reference ?? record.predictions.at(-1)!;
  const { path, tests, samples } = split(caller, record, random, { pathShare, pathUnits });
  const finding = selectRows(record, path);
  const last = Int32Array.from(path, (i) => comparedWith[i]!);
  const found = pathOf({ ...finding, predictions: [...finding.predictions.slice(0, -1), last] });
  const testing = selectRows(record, tests);
  const testingReference = Int32Array.from(tests, (i) => comparedWith[i]!);
  const never = new Array<number>(e - 1).fill(NEVER);
  const points: GuardedPoint[] = [];
  let bound = 0;
  for (const thresholds of [never, ...found]) {
    const point = replayChecked(testing, thresholds, costs);
    // Nothing is lost against oneself.
    if (thresholds !== never || reference !== undefined) {
      bound = Math.max(bound, upperBound(lossesOf(testing, point, testingReference, "loss"), delta));
    }
    if (bound >= 1) break;
    const { accuracy, meanCost, costFraction } = point;
    points.push({ thresholds: point.thresholds, accuracy, meanCost, costFraction, lossBound: bound });
  }
  return { delta, samples, points };
}

/** Units that find the path, and units that test, those of a group beside each other, in random order. */
function split(
  caller: string,
  record: ExitRecord,
  random: Generator,
  { pathShare, pathUnits }: { readonly pathShare: number; readonly pathUnits: Int32Array | undefined },
): { readonly path: Int32Array; readonly tests: Int32Array; readonly samples: number } {
  const draws = drawsOf(record);
  const order = random.permutation(draws.count);
  const isPath = new Uint8Array(draws.count);
  if (pathUnits === undefined) {
    for (const draw of order.subarray(0, Math.round(pathShare * draws.count))) isPath[draw] = 1;
  } else {
    const finding = new Uint8Array(record.n);
    for (const unit of pathUnits) finding[unit] = 1;
    // A group that had a part in it is used.
    for (let draw = 0; draw < draws.count; draw++) {
      if (draws.unitsOf(Int32Array.of(draw)).some((unit) => finding[unit] === 1)) isPath[draw] = 1;
    }
  }
  const path = order.filter((draw) => isPath[draw] === 1);
  const tests = order.filter((draw) => isPath[draw] === 0);
  if (path.length === 0 || tests.length === 0) {
    const fix = "Record more samples.";
    const actual = `${path.length} and ${tests.length} of ${draws.count}`;
    throw new InputError(caller, "there must be samples both to find a path and to test it", actual, fix);
  }
  return { path: draws.unitsOf(path), tests: draws.unitsOf(tests), samples: tests.length };
}

/** The smallest level at which, and at all above, the mean is shown to be below it; 1 where at none. */
function upperBound(losses: ArrayLike<number>, delta: number): number {
  let bound = 1;
  for (const level of LEVELS) {
    if (!meanIsBelow(losses, level, delta)) break;
    bound = level;
  }
  return bound;
}

/**
 * The cheapest point whose accuracy lost on samples to come is at most `maxAccuracyLoss`, with the probability that
 * {@link Guarded} states; the most cautious of equally cheap ones.
 *
 * @param maxAccuracyLoss In [0, 1]; decided on before the points were looked at.
 * @returns Nothing leaving early where nothing else is certified; undefined where even that is not (with a `reference` only).
 * @throws InputError on a loss out of range, or what is no {@link Guarded}.
 */
export function cheapestGuarded(guarded: Guarded, maxAccuracyLoss: number): GuardedPoint | undefined {
  const caller = "early-exit.cheapestGuarded";
  if (!Array.isArray(guarded?.points)) {
    throw new InputError(caller, "what guardedPoints gave", guarded === null ? "null" : typeof guarded);
  }
  if (!(maxAccuracyLoss >= 0 && maxAccuracyLoss <= 1)) {
    throw new InputError(caller, "maxAccuracyLoss must lie in [0, 1]", `${maxAccuracyLoss}`);
  }
  let best: GuardedPoint | undefined;
  for (const point of guarded.points) {
    if (point.lossBound > maxAccuracyLoss + 1e-12) break;
    if (best === undefined || point.meanCost < best.meanCost) best = point;
  }
  return best;
}

/**
 * How many samples must test, and lose nothing, before a loss of at most `maxAccuracyLoss` can be certified at all:
 * ln(1/δ) ÷ ln(1 + 0.75·α/(1 − α)). More are needed where some are lost.
 *
 * @param maxAccuracyLoss α in (0, 1)
 * @param delta δ in (0, 1). Default 0.1.
 * @throws InputError on numbers out of range.
 */
export function samplesNeeded(maxAccuracyLoss: number, delta = 0.1): number {
  if (!(maxAccuracyLoss > 0 && maxAccuracyLoss < 1 && delta > 0 && delta < 1)) {
    const actual = `${maxAccuracyLoss} and ${delta}`;
    throw new InputError("early-exit.samplesNeeded", "maxAccuracyLoss and delta must lie in (0, 1)", actual);
  }
  return Math.ceil(Math.log(1 / delta) / Math.log1p((0.75 * maxAccuracyLoss) / (1 - maxAccuracyLoss)));
}
