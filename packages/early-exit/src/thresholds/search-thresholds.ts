import { type Generator, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkCosts, type ExitCosts } from "../costs/cost.ts";
import { checkRecord, type ExitRecord } from "../records/record.ts";
import { ALWAYS, NEVER, type OperatingPoint, replayChecked } from "../records/replay.ts";
import { upperHull } from "./frontier.ts";
import { between } from "./search/problem.ts";

const schema = z.strictObject({
  draws: z.number().int().min(1).max(10_000_000).default(2000),
  random: z.custom<Generator>((value) => typeof (value as Generator | undefined)?.integer === "function", {
    message: "must be a generator, e.g. generator(1) of core-gpu",
  }),
});

/**
 * The paper's random search: draws threshold vectors, replays each, and keeps the upper-left convex hull of (mean cost,
 * accuracy), cheapest first.
 *
 * Each vector first draws a probability u in [0, 1] with which it switches each exit off (NEVER), so that the
 * whole range from cheap to accurate is covered however many exits there are. The other thresholds are drawn from that exit's
 * recorded confidences (uniform over the n + 1 places before, between and behind them in rising order: below all is ALWAYS,
 * above all NEVER). The vectors all-ALWAYS and all-NEVER are always tried too.
 *
 * Differs: the paper draws from U(0, 1), which for confidences that all lie close together means "never" most of the time.
 *
 * @param options.draws Number of random vectors, default 2000.
 * @param options.random Seeded generator; advanced.
 * @throws InputError on a bad record, costs or options.
 * Source: E²CM (IJCNN 2022), thresholds per layer [S: the authors' code]; drawing from the confidences' own quantiles [D].
 * @example
 * ```ts
 * import { generator } from "@exitkit/core-gpu";
 * import { searchThresholds } from "@exitkit/early-exit";
 * const record = {
 *   exits: ["early", "full"], n: 2, labels: Int32Array.of(0, 1),
 *   confidences: [Float32Array.of(0.9, 0.6), Float32Array.of(0.9, 0.8)],
 *   predictions: [Int32Array.of(0, 0), Int32Array.of(0, 1)],
 * };
 * const hull = searchThresholds(record, { exits: [10, 30], full: 30 }, { draws: 50, random: generator(1) });
 * console.assert(hull.at(-1)?.accuracy === 1 && hull.at(-1)?.meanCost === 20);
 * ```
 */
export function searchThresholds(
  record: ExitRecord,
  costs: ExitCosts,
  options: { readonly draws?: number; readonly random: Generator },
): readonly OperatingPoint[] {
  const caller = "early-exit.searchThresholds";
  checkRecord(caller, record);
  checkCosts(caller, costs, record.exits.length);
  const { draws, random } = parseOptions(caller, schema, options);
  const sorted = record.confidences.slice(0, -1).map((row) => row.slice().sort());
  const drawn = (row: Float32Array): number => {
    const place = random.integer(row.length + 1);
    if (place === 0) return ALWAYS;
    return place === row.length ? NEVER : between(row[place - 1]!, row[place]!);
  };
  const point = (thresholds: readonly number[]): OperatingPoint => {
    const { accuracy, meanCost, costFraction, thresholds: held } = replayChecked(record, thresholds, costs);
    return { thresholds: held, accuracy, meanCost, costFraction };
  };
  const points = [point(sorted.map(() => ALWAYS)), point(sorted.map(() => NEVER))];
  for (let draw = 0; draw < draws; draw++) {
    const off = random.uniform();
    points.push(point(sorted.map((row) => (random.uniform() < off ? NEVER : drawn(row)))));
  }
  return upperHull(points);
}
