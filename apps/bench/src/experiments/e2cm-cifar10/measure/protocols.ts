import { cheapestWithin, type ExitCosts, type ExitRecord, type OperatingPoint, replay } from "@exitkit/early-exit";
import { meanOf } from "../../../measuring/answers.ts";
import type { FrontierRow } from "../schema.ts";
import { WANTED_LOSSES } from "./network.ts";

type Label = Pick<FrontierRow, "backbone" | "metric" | "rule" | "variant">;

/** The paper's protocol: every point that training pictures chose, replayed on all test pictures. */
export function paperRows(
  label: Label,
  points: readonly OperatingPoint[],
  test: ExitRecord,
  costs: ExitCosts,
): readonly FrontierRow[] {
  return points.map(({ thresholds }) => {
    const { accuracy, costFraction, shares } = replay(test, thresholds, costs);
    return { ...label, protocol: "paper", macsFraction: costFraction, accuracy, thresholds, shares, wantedLoss: null };
  });
}

/** One way round of the sound protocol: points chosen on one half, the record and the costs they are reported with. */
export interface Fold {
  readonly points: readonly OperatingPoint[];
  /** The full network's accuracy on the pictures that chose the points. */
  readonly calibrationAccuracy: number;
  readonly report: ExitRecord;
  readonly costs: ExitCosts;
}

/**
 * The sound protocol: for every wanted loss the cheapest point of each half within it, replayed on the other half; accuracy,
 * cost and shares are means over the two, so every test picture counts once.
 */
export function soundRows(label: Label, folds: readonly Fold[]): readonly FrontierRow[] {
  return WANTED_LOSSES.flatMap((wantedLoss) => {
    const replays = folds.flatMap(({ points, calibrationAccuracy, report, costs }) => {
      const point = cheapestWithin(points, calibrationAccuracy - wantedLoss);
      return point === undefined ? [] : [replay(report, point.thresholds, costs)];
    });
    if (replays.length < folds.length) return [];
    return [
      {
        ...label,
        protocol: "sound",
        macsFraction: meanOf(replays.map(({ costFraction }) => costFraction)),
        accuracy: meanOf(replays.map(({ accuracy }) => accuracy)),
        thresholds: replays[0]!.thresholds,
        shares: replays[0]!.shares.map((_, exit) => meanOf(replays.map(({ shares }) => shares[exit]!))),
        wantedLoss,
      },
    ];
  });
}
