import {
  agreementFrontier,
  type ExitCosts,
  type ExitRecord,
  fitAgreement,
  type OperatingPoint,
  replay,
  selectRows,
} from "@exitkit/early-exit";
import { halfOf } from "./exits.ts";
import { judge } from "./quality/judge.ts";
import type { Outcome } from "./schema.ts";

/** One half of the test pictures, and the operating points that the other half offers it, cheapest first. */
export interface Fold {
  readonly report: ExitRecord;
  readonly points: readonly OperatingPoint[];
}

/** Which of the operating points is taken, cheapest first; the last is the most faithful. */
export type Choice = (points: readonly OperatingPoint[]) => OperatingPoint;

/** The most faithful point that costs at most a fraction of the plain network; the cheapest where none is so cheap. */
export function withinCost(fraction: number): Choice {
  return (points) => points.findLast(({ costFraction }) => costFraction <= fraction) ?? points[0]!;
}

/** The cheapest point at which at least that share of the pictures gets the full network's cluster. */
export function agreeing(share: number): Choice {
  return (points) => points.find(({ accuracy }) => accuracy >= share) ?? points.at(-1)!;
}

/**
 * Each half of the test pictures with the operating points of the other one. They are chosen for agreement with the full
 * network's clusters, which are the record's labels: no class is looked at.
 */
export function foldsOf(record: ExitRecord, costs: ExitCosts): readonly [Fold, Fold] {
  const half = halfOf(record.n);
  const range = (from: number, to: number) => Int32Array.from({ length: to - from }, (_, index) => from + index);
  const [first, second] = [selectRows(record, range(0, half)), selectRows(record, range(half, record.n))];
  const pointsOf = (calibration: ExitRecord) =>
    agreementFrontier(calibration, costs, fitAgreement(calibration), { resolution: 0 });
  return [
    { report: first, points: pointsOf(second) },
    { report: second, points: pointsOf(first) },
  ];
}

/**
 * What comes of a choice of thresholds, on all test pictures: each half is answered with the other half's thresholds.
 *
 * @param classes [n] of the test pictures.
 * @param mapping The class each cluster stands for, from the training pictures.
 */
export function outcome(
  folds: readonly [Fold, Fold],
  costs: ExitCosts,
  choose: Choice,
  classes: Int32Array,
  mapping: Int32Array,
): Outcome {
  const replays = folds.map(({ report, points }) => replay(report, choose(points).thresholds, costs));
  const weights = folds.map(({ report }) => report.n / classes.length);
  const mean = (values: readonly number[]) => values.reduce((sum, value, fold) => sum + weights[fold]! * value, 0);
  const answers = Int32Array.from(replays.flatMap(({ predictions }) => [...predictions]));
  return {
    macsFraction: mean(replays.map(({ costFraction }) => costFraction)),
    agreement: mean(replays.map(({ accuracy }) => accuracy)),
    shares: costs.exits.map((_, exit) => mean(replays.map(({ shares }) => shares[exit]!))),
    ...judge(answers, classes, mapping),
  };
}
