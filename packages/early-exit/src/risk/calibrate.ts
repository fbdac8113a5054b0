import { type Generator, InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkCosts, type ExitCosts } from "../costs/cost.ts";
import { checkClasses, checkRecord, type ExitRecord, selectRows } from "../records/record.ts";
import { NEVER, type OperatingPoint, replayChecked } from "../records/replay.ts";
import { heldThresholds } from "../thresholds/held-thresholds.ts";
import { meanIsBelow } from "./betting.ts";
import { binomialTail } from "./binomial.ts";
import { drawsOf } from "./draws.ts";
import { type Losses, lossesOf, type Risk, total } from "./losses.ts";
import { pathOf } from "./path.ts";

/** Options of {@link calibrate}. */
export interface CalibrateOptions {
  /** Which risk is bounded. */
  readonly risk: Risk;
  /** The risk that may not be exceeded, in (0, 1); 0.01 is one point. */
  readonly maxRisk: number;
  /** Probability, over the samples of the record, that it is exceeded all the same; in (0, 1). Default 0.1. */
  readonly delta?: number;
  /** Seeded; puts the samples in random order. Advanced. */
  readonly random: Generator;
  /** Fraction of the samples that the path is found on, in (0, 1); the others test it. Default 0.3. */
  readonly pathShare?: number;
  /**
   * `[points][e − 1]` thresholds from the most cautious to the boldest, which must not come from this record: all its
   * samples then test them. Default: found on `pathShare` of the samples.
   */
  readonly path?: readonly (readonly number[])[];
  /**
   * `[n]` what the network that `loss`, `harm` and `disagreement` compare with answers to the record's samples. Needed where the
   * record's last exit is not that network: with `whenNoneIsSure: "mostConfident"` it is the most confident exit. Default: the
   * predictions of the last exit.
   */
  readonly reference?: Int32Array;
}

/** Thresholds, and what is guaranteed about them. Accuracy and cost are of the samples that tested them. */
export interface Calibrated extends OperatingPoint {
  /**
   * Whether the risk is guaranteed. Without a `reference` only `error` can be refused: the last exit has none of the other risks
   * against itself.
   */
  readonly certified: boolean;
  /**
   * The guaranteed risk: `maxRisk`; 0 for thresholds that let nothing leave early where they have none by definition (neither `error`
   * nor a `reference`); 1 where nothing is certified.
   */
  readonly bound: number;
  /** The risk seen on the samples that tested. */
  readonly risk: number;
  /** Number of points of the path that were tested; the last of them failed unless the path came to its end. */
  readonly tested: number;
  /** Number of points that passed. */
  readonly passed: number;
  /** Number of samples that tested; of groups where the record has them. */
  readonly samples: number;
}

const schema = z.strictObject({
  risk: z.enum(["error", "loss", "harm", "disagreement"]),
  maxRisk: z.number().gt(0).lt(1),
  delta: z.number().gt(0).lt(1).default(0.1),
  random: z.custom<Generator>((value) => typeof (value as Generator | undefined)?.permutation === "function", {
    message: "must be a generator, e.g. generator(1) of core-gpu",
  }),
  pathShare: z.number().gt(0).lt(1).default(0.3),
  path: z.array(z.array(z.number()).readonly()).min(1).readonly().optional(),
  reference: z.instanceof(Int32Array, { message: "must be an Int32Array" }).optional(),
});

/**
 * Chooses thresholds whose risk on samples to come is at most `maxRisk`, with probability at least 1 − δ over the record:
 * P(R(thresholds) ≤ maxRisk) ≥ 1 − δ, whatever the network, the confidences and the distribution are, at any number of
 * samples.
 *
 * The record's samples must be independent draws of what will be classified, none used to train the network or its exits.
 * They are put in random order; a share finds a path of threshold vectors from cautious to bold
 * ({@link agreementFrontier}: one probability of agreement for all exits), the others test it point by point, each at level
 * δ against "the risk is above maxRisk", until the first point fails. Of those that passed the cheapest is returned. As the
 * first bad point is refused with probability 1 − δ and nothing behind it is looked at, no correction for the number of
 * points is needed. Losses of 0 and 1 are tested by the exact binomial tail P(Bin(n, maxRisk) ≤ losses seen) ≤ δ; those of
 * `loss`, in {−1, 0, 1}, by betting (its power does not suffer from the many samples that lose nothing).
 *
 * Of a record in groups (pixels in frames, tokens in documents) the groups are the independent draws: they are what is split and
 * what tests, by the mean loss over a group's units, and the risk is the mean of that over groups to come. Such means, in [−1, 1],
 * are tested by betting. `accuracy` and `meanCost` are of units.
 *
 * Where no point passes, nothing leaves early ({@link NEVER} everywhere), exactly the last exit. It has none of the
 * risks but `error`; for that one `certified` is then false, and the risk may be anything: ask for more than the full
 * network's error. Begin an own path with NEVER everywhere to have the last exit itself tested.
 *
 * With `whenNoneIsSure: "mostConfident"` (Shallow-Deep Networks) the record's last exit is the most confident one, which can be
 * wrong where the network is right. Pass the network's own answers as `reference`: the last exit is then tested as all others are, as
 * the first point of a path that is found here, and not certified where it fails.
 *
 * The guarantee costs something. Measured by drawing calibration samples from 2,500 recorded CIFAR-10 pictures (ResNet-20, three
 * early exits, disagreement ≤ 0.04, δ = 0.1): mean cost 0.78 of the full network's from 500 samples and 0.75 from 2,000,
 * where thresholds chosen by the risk seen on the samples alone come to 0.72 and 0.73, and exceed 0.04 in half of all draws
 * rather than in 5 to 7 %. With `error`, a limit close to the full network's own error and few samples, often nothing is
 * certified.
 *
 * @throws InputError on a bad record, costs that do not increase, options out of range, a path of another number of
 * thresholds, a reference that is not n classes, or too few samples to split.
 * Source: A. N. Angelopoulos, S. Bates, E. J. Candès, M. I. Jordan, L. Lei, "Learn then Test", 2021 (fixed-sequence
 * testing) [D]; for early exits: M. Jazbec et al., "Fast yet Safe: Early-Exiting with Risk Control", 2024 [D].
 * Differs: exact tests in place of Hoeffding and Bentkus' bound; per-exit thresholds along a fitted path.
 * @example
 * ```ts
 * import { generator } from "@exitkit/core-gpu";
 * import { calibrate, type ExitRecord } from "@exitkit/early-exit";
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
 * const goal = { risk: "disagreement", maxRisk: 0.02, delta: 0.05, random: generator(1) } as const;
 * const { certified, bound, costFraction } = await calibrate(record, { exits: [10, 40], full: 40 }, goal);
 * console.assert(certified && bound === 0.02 && costFraction < 0.4);
 * ```
 */
export async function calibrate(record: ExitRecord, costs: ExitCosts, options: CalibrateOptions): Promise<Calibrated> {
  const caller = "early-exit.calibrate";
  checkRecord(caller, record);
  const e = record.exits.length;
  checkCosts(caller, costs, e);
  const { risk, maxRisk, delta, random, pathShare, path: given, reference } = parseOptions(caller, schema, options);
  if (reference !== undefined) checkClasses(caller, "reference", reference, record.n);
  const path = given?.map((thresholds) => [...heldThresholds(caller, e, thresholds)]);
  const draws = drawsOf(record);
  const order = random.permutation(draws.count);
  const onPath = path === undefined ? Math.round(pathShare * draws.count) : 0;
  if ((path === undefined && onPath < 1) || onPath >= draws.count) {
    const what = record.groups === undefined ? "samples" : "groups";
    const fix = `Record more ${what}, or pass a path found on others.`;
    throw new InputError(caller, `there must be ${what} both to find a path and to test it`, `${draws.count}`, fix);
  }
  const never = new Array<number>(e - 1).fill(NEVER);
  const comparedWith = reference ?? record.predictions.at(-1)!;
  const tests = draws.unitsOf(order.subarray(onPath));
  const testing = selectRows(record, tests);
  const testingReference = Int32Array.from(tests, (i) => comparedWith[i]!);
  const points = path ?? foundPath(draws.unitsOf(order.subarray(0, onPath)));
  const samples = draws.count - onPath;
  const passes = (losses: Losses): boolean =>
    risk === "loss" || record.groups !== undefined
      ? meanIsBelow(losses, maxRisk, delta)
      : binomialTail(total(losses), samples, maxRisk) <= delta;

  // The last exit loses nothing against itself; against another network it may.
  const exact = risk !== "error" && reference === undefined;
  const full = replayChecked(testing, never, costs);
  const fullRisk = total(lossesOf(testing, full, testingReference, risk)) / samples;
  let best = { point: full, risk: fullRisk, certified: exact, bound: exact ? 0 : 1 };
  let tested = 0;
  let passed = 0;
  for (const thresholds of points) {
    const point = replayChecked(testing, thresholds, costs);
    const losses = lossesOf(testing, point, testingReference, risk);
    tested++;
    if (!passes(losses)) break;
    passed++;
    if (best.certified && point.meanCost >= best.point.meanCost) continue;
    best = { point, risk: total(losses) / samples, certified: true, bound: maxRisk };
  }
  const { thresholds, accuracy, meanCost, costFraction } = best.point;
  const { certified, bound } = best;
  const found = { certified, bound, risk: best.risk, tested, passed, samples };
  return { thresholds, accuracy, meanCost, costFraction, ...found };

  /** A path towards agreement with the reference; where there is one, from the last exit on. */
  function foundPath(rows: Int32Array): readonly (readonly number[])[] {
    const { predictions, ...own } = selectRows(record, rows);
    const last = Int32Array.from(rows, (i) => comparedWith[i]!);
    const found = pathOf({ ...own, predictions: [...predictions.slice(0, -1), last] });
    return reference === undefined ? found : [never, ...found];
  }
}
