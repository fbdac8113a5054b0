import {
  agreementFrontier,
  cheapestWithin,
  type ExitRecord,
  fitAgreement,
  gatedRecord,
  type LogitsRecord,
  type OperatingPoint,
  type Replay,
  replay,
} from "@exitkit/early-exit";
import { accuracyAt, meanOf } from "../../measuring/answers.ts";
import { foldRecords } from "../../measuring/halves.ts";
import type { Candidate, Setting } from "./candidate.ts";
import type { RivalDataset } from "./datasets.ts";
import type { RivalRow, WithinRow } from "./schema.ts";

/** A gate lets go above 0.5; other thresholds, the same at every exit, reach costs between those of two trade-offs. */
const OPEN: readonly number[] = [0.5, 0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9];

/** Mean costs that are allowed, as fractions of the plain network's. */
const ASKED: readonly number[] = Array.from({ length: 20 }, (_, index) => (index + 1) / 20);

/** Losses against the plain network that are asked for. */
const RIVAL_LOSSES: readonly number[] = [0.005, 0.01, 0.02, 0.05];

/** One way round: settings chosen on one half of the test pictures, and what each does on the other. */
export interface Way {
  readonly points: readonly Setting[];
  readonly report: (setting: Setting) => Replay;
}

/**
 * Both ways round. All exits of a method ask for one and the same probability of agreeing with the network's last exit, so that
 * the methods differ in their exits alone and not in how hard their thresholds were searched. (Of exits among which the most
 * confident answers when none is sure, it is still the network that they are asked to agree with: a sure exit agrees with the
 * most confident by being it.) Only gates have their own: a setting is a trade-off that they were learned for and one threshold
 * for all.
 */
export function bothWays({ record, own: asked, costs, gates }: Candidate): readonly [Way, Way] {
  const halves = foldRecords(record);
  const agreements = foldRecords(asked).map((half) => fitAgreement(half));
  const ways = halves.map((calibration, index): Way => {
    if (gates === undefined) {
      const points = agreementFrontier(calibration, costs, agreements[index]!, { resolution: 0 });
      return { points, report: ({ thresholds }) => replay(halves[1 - index]!, thresholds, costs) };
    }
    const [logits, others] = [index, 1 - index].map((half) => halfOfLogits(record as LogitsRecord, half));
    const points = gates[index]!.flatMap((own) => {
      const gated = gatedRecord(logits!, own);
      return OPEN.map((threshold) => {
        const { thresholds, accuracy, meanCost, costFraction } = replay(
          gated,
          own.gates.map(() => threshold),
          costs,
        );
        return { thresholds, accuracy, meanCost, costFraction, gates: own };
      });
    });
    return { points, report: ({ gates: own, thresholds }) => replay(gatedRecord(others!, own!), thresholds, costs) };
  });
  return ways as [Way, Way];
}

/** One of the halves of `foldRecords`, logits included. */
export function halfOfLogits(record: LogitsRecord, half: number): LogitsRecord {
  const { classes, logits } = record;
  const own = foldRecords(record)[half]!;
  const from = half * own.n * classes;
  return { ...own, classes, logits: logits.map((row) => row.subarray(from, from + own.n * classes)) };
}

/** For every allowed cost the most accurate point within it, reported on the other half; means over both ways round. */
export function frontierRows(
  dataset: RivalDataset,
  { method, budget, seed }: Candidate,
  ways: readonly Way[],
): readonly RivalRow[] {
  return ASKED.flatMap((askedFraction): readonly RivalRow[] => {
    const found = reported(ways, ({ points }) => mostAccurate(points, askedFraction));
    return found === null ? [] : [{ dataset, method, budget, seed, askedFraction, ...found, wallFraction: null }];
  });
}

/** For every wanted loss the cheapest point within it. */
export function withinRows(
  dataset: RivalDataset,
  { method, budget, seed }: Candidate,
  ways: readonly Way[],
  plain: ExitRecord,
): readonly WithinRow[] {
  const own = foldRecords(plain).map((half) => accuracyAt(half, half.exits.length - 1));
  return RIVAL_LOSSES.map((wantedLoss) => {
    const found = reported(ways, ({ points }, index) => cheapestWithin(points, own[index]! - wantedLoss));
    return { dataset, method, budget, seed, wantedLoss, ...(found ?? { macsFraction: null, accuracy: null }) };
  });
}

/** The most accurate point whose mean cost is at most a fraction of the plain network's, the cheaper of equals. */
export function mostAccurate<P extends OperatingPoint>(points: readonly P[], costFraction: number): P | undefined {
  let best: P | undefined;
  for (const point of points) {
    if (point.costFraction > costFraction) continue;
    const gain = best === undefined ? 1 : point.accuracy - best.accuracy || best.meanCost - point.meanCost;
    if (gain > 0) best = point;
  }
  return best;
}

function reported(ways: readonly Way[], choose: (way: Way, index: number) => Setting | null | undefined) {
  const replays = ways.flatMap((way, index) => {
    const point = choose(way, index);
    return point == null ? [] : [way.report(point)];
  });
  if (replays.length < ways.length) return null;
  return {
    macsFraction: meanOf(replays.map(({ costFraction }) => costFraction)),
    accuracy: meanOf(replays.map(({ accuracy }) => accuracy)),
  };
}
