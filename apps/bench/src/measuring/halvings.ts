import type { Generator } from "@exitkit/core-gpu";
import {
  agreementFrontier,
  cheapestGuarded,
  cheapestWithin,
  type ExitCosts,
  type ExitRecord,
  fitAgreement,
  type Guarded,
  guardedPoints,
  NEVER,
  type OperatingPoint,
  replay,
  selectRows,
} from "@exitkit/early-exit";
import { z } from "zod";
import { accuracyAt, countRight, meanOf } from "./answers.ts";
import { amount, share } from "./ranges.ts";

/** `guarded`: kept on new samples with a probability that is said; `aimed`: kept on the samples that chose. */
export type Choice = "guarded" | "aimed";

/** Thresholds for whatever loss is asked for, chosen on some samples. */
export interface Chosen {
  /** `[e − 1]`: of every exit, which of the candidates. */
  readonly candidates: readonly number[];
  readonly guarded: Guarded;
  readonly aimed: readonly OperatingPoint[];
  /** The full network's accuracy on these samples. */
  readonly fullAccuracy: number;
}

/** Of the samples, those that choose candidates and a path of thresholds; the others test. As in e2cm. */
const CHOOSING_SHARE = 0.3;

/**
 * Chooses thresholds as e2cm's `fit` does: 30 % of the samples, at random, choose for every exit the candidate that answers most of them
 * rightly, and a path of thresholds; the others say what can be promised. What is only aimed at is chosen on all.
 *
 * @param candidates Records of the same samples by exits at the same places.
 */
export function chooseOn(
  candidates: readonly ExitRecord[],
  costs: ExitCosts,
  samples: Int32Array,
  random: Generator,
): Chosen {
  const halves = candidates.map((record) => selectRows(record, samples));
  const pathUnits = random.permutation(samples.length).slice(0, Math.round(CHOOSING_SHARE * samples.length));
  const chosen = costs.exits.slice(0, -1).map((_, exit) => {
    const right = halves.map(({ predictions, labels }) =>
      countRight(
        pathUnits.map((row) => predictions[exit]![row]!),
        pathUnits.map((row) => labels[row]!),
      ),
    );
    return right.indexOf(Math.max(...right));
  });
  const record = merged(halves, chosen);
  return {
    candidates: chosen,
    guarded: guardedPoints(record, costs, { random, pathUnits }),
    aimed: agreementFrontier(record, costs, fitAgreement(record)),
    fullAccuracy: accuracyAt(record, chosen.length),
  };
}

/** The record of the exits that were chosen among the candidates. */
export function merged(records: readonly ExitRecord[], chosen: readonly number[]): ExitRecord {
  const [first] = records;
  const of = <T>(pick: (record: ExitRecord) => readonly T[]) => [
    ...chosen.map((candidate, exit) => pick(records[candidate]!)[exit]!),
    pick(first!).at(-1)!,
  ];
  return {
    ...first!,
    confidences: of((record) => record.confidences),
    predictions: of((record) => record.predictions),
  };
}

/** The cheapest thresholds for a loss; where there are none, nothing leaves early. */
export function thresholdsFor(chosen: Chosen, choice: Choice, loss: number): readonly number[] {
  const { guarded, aimed, fullAccuracy, candidates } = chosen;
  const point = choice === "guarded" ? cheapestGuarded(guarded, loss) : cheapestWithin(aimed, fullAccuracy - loss);
  return point?.thresholds ?? candidates.map(() => NEVER);
}

const outcome = z.object({
  /** In how many halvings more was lost than was asked for. */
  failed: amount,
  /** Means over the halvings: accuracy lost, and MACs as a fraction of the plain network's. */
  lost: z.number(),
  macsFraction: amount,
  /** In how many halvings nothing left early. */
  idle: amount,
});

/** What random halvings say of a promise: thresholds chosen on one half, what they lose on the other. */
export const halvingFields = {
  asked: amount,
  halvings: amount,
  /** δ: how often the promise may fail. */
  delta: share,
  guarded: outcome,
  aimed: outcome,
};

export type Halving = z.output<z.ZodObject<typeof halvingFields>>;

/** The losses that are asked for in halvings. */
const ASKED: readonly number[] = [0.002, 0.003, 0.005, 0.01, 0.02];

/** Samples dealt at random into two halves: one that chose thresholds, and one that they are reported on. */
interface Dealt {
  readonly chosen: Chosen;
  /** The samples that chose nothing, and what the chosen exits said of them. */
  readonly rows: Int32Array;
  readonly report: ExitRecord;
}

function* dealt(
  candidates: readonly ExitRecord[],
  costs: ExitCosts,
  halvings: number,
  random: Generator,
): Iterable<Dealt> {
  for (let count = 0; count < halvings; count++) {
    const order = random.permutation(candidates[0]!.n);
    const half = Math.floor(order.length / 2);
    const chosen = chooseOn(candidates, costs, order.slice(0, half), random);
    const rows = order.slice(half, 2 * half);
    yield { chosen, rows, report: selectRows(merged(candidates, chosen.candidates), rows) };
  }
}

/**
 * Halves the samples at random, again and again: thresholds for every loss from one half, what they lose on the other.
 *
 * @param random Deals the samples.
 * @param onHalving Called after each.
 */
export async function inHalves(
  candidates: readonly ExitRecord[],
  costs: ExitCosts,
  halvings: number,
  random: Generator,
  onHalving?: () => void,
): Promise<readonly Halving[]> {
  const seen = ASKED.map(() => ({ guarded: [] as Seen[], aimed: [] as Seen[] }));
  let delta = Number.NaN;
  for (const { chosen, report } of dealt(candidates, costs, halvings, random)) {
    const full = accuracyAt(report, chosen.candidates.length);
    delta = chosen.guarded.delta;
    for (const [at, asked] of ASKED.entries()) {
      for (const choice of ["guarded", "aimed"] as const) {
        const { accuracy, costFraction, shares } = replay(report, thresholdsFor(chosen, choice, asked), costs);
        seen[at]![choice].push({ lost: full - accuracy, macsFraction: costFraction, idle: shares.at(-1) === 1 });
      }
    }
    onHalving?.();
    // Lets progress be drawn and signals be heard.
    await new Promise(setImmediate);
  }
  return ASKED.map((asked, at) => {
    const outcomeOf = (all: readonly Seen[]) => ({
      failed: all.filter(({ lost }) => lost > asked + 1e-9).length,
      lost: meanOf(all.map(({ lost }) => lost)),
      macsFraction: meanOf(all.map(({ macsFraction }) => macsFraction)),
      idle: all.filter(({ idle }) => idle).length,
    });
    return {
      asked,
      halvings,
      delta,
      guarded: outcomeOf(seen[at]!.guarded),
      aimed: outcomeOf(seen[at]!.aimed),
    };
  });
}

/**
 * Of the random halvings, the one whose guarded thresholds for a loss cost the median number of MACs on the half that chose nothing: what a
 * user is likely to get. With the same generator they are the halvings of {@link inHalves}.
 */
export function typicalHalving(
  candidates: readonly ExitRecord[],
  costs: ExitCosts,
  loss: number,
  halvings: number,
  random: Generator,
): Dealt & { readonly thresholds: readonly number[] } {
  const all = Array.from(dealt(candidates, costs, halvings, random), (one) => {
    const thresholds = thresholdsFor(one.chosen, "guarded", loss);
    return { ...one, thresholds, cost: replay(one.report, thresholds, costs).costFraction };
  });
  return all.sort((a, b) => a.cost - b.cost)[Math.floor((all.length - 1) / 2)]!;
}

interface Seen {
  readonly lost: number;
  readonly macsFraction: number;
  readonly idle: boolean;
}
