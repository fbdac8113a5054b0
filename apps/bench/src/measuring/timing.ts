/** A piece of work to time; it is run one after the other with its peers. */
export interface Contender {
  readonly name: string;
  run(): Promise<unknown>;
}

/** How long to measure. */
export interface TimingPlan {
  /** Milliseconds to spend on all contenders together; decides the number of rounds between the two bounds below. */
  readonly budget: number;
  readonly leastRounds: number;
  readonly mostRounds: number;
}

/** Times of one contender over all rounds, in milliseconds a run. */
export interface Timing {
  readonly median: number;
  readonly lowerQuartile: number;
  readonly upperQuartile: number;
  /** [rounds], in order: the same index is the same round for all contenders. */
  readonly times: readonly number[];
}

/** A measurement shorter than this many milliseconds repeats its run, so that the clock and the event loop do not matter. */
const LEAST_MEASURED = 5;

/**
 * Times contenders against each other: two warm-up runs each, then rounds in which each runs once, beginning with another
 * one every round, so that a change of the machine's load meets all of them alike. Medians are over rounds.
 *
 * @param now Clock in milliseconds; for tests.
 */
export async function timeInterleaved(
  contenders: readonly Contender[],
  plan: TimingPlan,
  now: () => number = () => performance.now(),
): Promise<ReadonlyMap<string, Timing>> {
  const repeats: number[] = [];
  let round = 0;
  for (const { run } of contenders) {
    await run();
    const begun = now();
    await run();
    const once = now() - begun;
    repeats.push(Math.max(1, Math.ceil(LEAST_MEASURED / Math.max(once, 0.01))));
    round += once * repeats.at(-1)!;
  }
  const rounds = Math.max(plan.leastRounds, Math.min(plan.mostRounds, Math.round(plan.budget / round)));
  const times: number[][] = contenders.map(() => []);
  for (let count = 0; count < rounds; count++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const index = (turn + count) % contenders.length;
      const begun = now();
      for (let repeat = 0; repeat < repeats[index]!; repeat++) await contenders[index]!.run();
      times[index]!.push((now() - begun) / repeats[index]!);
    }
  }
  return new Map(contenders.map(({ name }, index) => [name, summarise(times[index]!)]));
}

function summarise(times: readonly number[]): Timing {
  return {
    median: quantile(times, 0.5),
    lowerQuartile: quantile(times, 0.25),
    upperQuartile: quantile(times, 0.75),
    times,
  };
}

/** The q-quantile (0 ≤ q ≤ 1) of numbers, linear between neighbours. */
export function quantile(values: ArrayLike<number>, q: number): number {
  const sorted = Float64Array.from(values).sort();
  const at = q * (sorted.length - 1);
  const below = sorted[Math.floor(at)]!;
  return below + (sorted[Math.ceil(at)]! - below) * (at - Math.floor(at));
}
