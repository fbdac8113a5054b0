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
    const other = halves[1 - index]!;
    if (gates === undefined) {
      const points = agreementFrontier(calibration, costs, agreements[index]!, { resolution: 0 });
      return { points, report: ({ thresholds }) => replay(other, thresholds, costs) };
    }
    const logits = [0, 1].map((half) => halfOfLogits(record as LogitsRecord, half));
    return {
      points: gates[index]!.flatMap((own) => {
        const gated = gatedRecord(logits[index]!, own);
        return OPEN.map((threshold) => {
          const all = own.gates.map(() => threshold);
          const { thresholds, accuracy, meanCost, costFraction } = replay(gated, all, costs);
          return { thresholds, accuracy, meanCost, costFraction, gates: own };
        });
      }),
      report: ({ gates: own, thresholds }) => replay(gatedRecord(logits[1 - index]!, own!), thresholds, costs),
    };
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
    const found = reported(ways, ({ points }, index) => cheapest(points, own[index]! - wantedLoss));
    return { dataset, method, budget, seed, wantedLoss, ...(found ?? { macsFraction: null, accuracy: null }) };
  });
}

/** The cheapest setting of at least this accuracy on calibration pictures; undefined where none has it. */
export function cheapest(points: readonly Setting[], accuracy: number): Setting | undefined {
  const found = cheapestWithin(points, accuracy);
  return points.find((point) => point === found);
}

/** The most accurate point whose mean cost is at most a fraction of the plain network's, the cheaper of equals. */
export function mostAccurate<P extends OperatingPoint>(points: readonly P[], costFraction: number): P | undefined {
  let best: P | undefined;
  for (const point of points) {
    if (point.costFraction > costFraction) continue;
    const better = best === undefined || point.accuracy > best.accuracy;
    if (better || (point.accuracy === best!.accuracy && point.meanCost < best!.meanCost)) best = point;
  }
  return best;
}

function reported(
  ways: readonly Way[],
  choose: (way: Way, index: number) => Setting | undefined,
): { readonly macsFraction: number; readonly accuracy: number } | null {
  const replays: Replay[] = [];
  for (const [index, way] of ways.entries()) {
    const point = choose(way, index);
    if (point === undefined) return null;
    replays.push(way.report(point));
  }
  return {
    macsFraction: meanOf(replays.map(({ costFraction }) => costFraction)),
    accuracy: meanOf(replays.map(({ accuracy }) => accuracy)),
  };
}
