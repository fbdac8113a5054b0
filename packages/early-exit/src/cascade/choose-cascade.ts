import { checkArguments, type Generator, InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import type { ExitCosts } from "../costs/cost.ts";
import { confidences } from "../exits/confidence.ts";
import { type ExitRecord, selectRows } from "../records/record.ts";
import { type OperatingPoint, replayChecked } from "../records/replay.ts";
import { solveThresholds } from "../thresholds/solve-thresholds.ts";
import type { MeasuredMember, MeasuredMembers } from "./measure-members.ts";

/** Options of {@link chooseCascade}. */
export interface ChooseCascadeOptions {
  /** What is to be little. Default `time`. */
  readonly objective?: "time" | "macs";
  /** By how much accuracy may fall below the reference's, in [−1, 1]; negative: by how much it must lie above. Default 0. */
  readonly maxAccuracyLoss?: number;
  /**
   * By how many standard errors the samples must stay within that loss, ≥ 0: of the difference between the cascade's and the reference's
   * share of right answers, sample by sample. Default 1. With 0 a loss of nothing is exceeded on other samples more often than not, as
   * the cheapest of many is the luckiest of many.
   */
  readonly standardErrors?: number;
  /** The member that accuracy and cost are compared with. Default: the dearest. */
  readonly reference?: string;
  /** Whether answers are averaged; see `cascade`. Default `averaged`. */
  readonly answer?: "own" | "averaged";
  /** Most members of a cascade, 1 to 6. Default 4. */
  readonly most?: number;
  /** Seeded generator that halves the samples; advanced. */
  readonly random: Generator;
}

/** A cascade that was looked at. Plain data. */
export interface CascadeChoice {
  /** Names in the order in which they are run. */
  readonly members: readonly string[];
  /** Temperatures to give them. */
  readonly temperatures: readonly number[];
  /** `[members − 1]`, chosen on all samples. */
  readonly thresholds: readonly number[];
  /** Mean cost of a sample as a fraction of the reference's; chosen on one half of the samples, seen on the other, both ways. */
  readonly costFraction: number;
  /** Accuracy, seen likewise. */
  readonly accuracy: number;
  /** Cost fraction and accuracy on all samples, on which the thresholds were chosen: what looks better than it is. */
  readonly onChosen: { readonly costFraction: number; readonly accuracy: number };
}

/** What {@link chooseCascade} found. */
export interface ChosenCascade {
  /** The cheapest cascade; the reference alone where nothing is cheaper. */
  readonly best: CascadeChoice;
  /** The cheapest of each number of members, one upwards: what each step brings. */
  readonly steps: readonly CascadeChoice[];
  /** How many subsets of the members were tried. */
  readonly tried: number;
  /** The reference's accuracy on all samples. */
  readonly referenceAccuracy: number;
  /** Sentences about members that no cascade can use: those that are no cheaper than one before them and less accurate. */
  readonly notes: readonly string[];
}

const optionsSchema = z.strictObject({
  objective: z.enum(["time", "macs"]).default("time"),
  maxAccuracyLoss: z.number().min(-1).max(1).default(0),
  standardErrors: z.number().min(0).default(1),
  reference: z.string().optional(),
  answer: z.enum(["own", "averaged"]).default("averaged"),
  most: z.int().min(1).max(6).default(4),
  random: z.custom<Generator>((value) => typeof (value as Generator | undefined)?.integer === "function", {
    message: "must be a generator, e.g. generator(1) of core-gpu",
  }),
});

const caller = "early-exit.chooseCascade";

/**
 * Says which of the networks at hand make the cheapest cascade within a loss of accuracy, in which order and at which thresholds.
 *
 * Every subset of at most `most` members is tried, in rising order of cost; one whose first member alone costs more than the best
 * found is left out, as it cannot win. Thresholds on the largest probability are chosen on all samples, to keep the reference's accuracy
 * less the loss allowed, `standardErrors` of room left; the subset is the cheapest there. A cascade's time is its first member's for all
 * samples and each later one's for those that reach it, its call paid for every batch. What is promised of it, cost and accuracy, is seen on each half of the samples
 * with thresholds chosen on the other. Which subset it is was chosen on all of them: report it on others.
 *
 * @param measured What `measureMembers` saw.
 * @throws InputError on no members, fewer than 4 samples, an unknown reference or option, or where no cascade is as accurate as is asked.
 * @example
 * ```ts
 * import { type Device, generator } from "@exitkit/core-gpu";
 * import { cascade, type CascadeMember, chooseCascade, type LabelledBatch, measureMembers } from "@exitkit/early-exit";
 * const build = async (device: Device, networks: readonly CascadeMember[], calibration: Iterable<LabelledBatch>) => {
 *   const measured = await measureMembers(device, networks, calibration, { batch: 64 });
 *   const { best } = chooseCascade(measured, { maxAccuracyLoss: 0.005, random: generator(1) });
 *   const members = best.members.map((name, j) => ({
 *     ...networks.find((network) => network.name === name)!,
 *     temperature: best.temperatures[j]!,
 *   }));
 *   return { network: cascade(members), thresholds: best.thresholds };
 * };
 * ```
 */
export function chooseCascade(measured: MeasuredMembers, options: ChooseCascadeOptions): ChosenCascade {
  const { objective, maxAccuracyLoss, standardErrors, reference, answer, most, random } = parseOptions(
    caller,
    optionsSchema,
    options,
  );
  const { labels, members, batch } = checkMeasured(measured);
  const costOf = (member: MeasuredMember) => (objective === "time" ? member.milliseconds : member.macs);
  const order = [...members].sort((a, b) => costOf(a) - costOf(b));
  const compared = reference === undefined ? order.at(-1)! : order.find(({ name }) => name === reference);
  if (compared === undefined) {
    const names = order.map(({ name }) => `"${name}"`).join(", ");
    throw new InputError(caller, `reference must be one of ${names}`, `"${reference}"`);
  }
  const n = labels.length;
  const shuffled = shuffle(n, random);
  const halves = [shuffled.slice(0, Math.floor(n / 2)), shuffled.slice(Math.floor(n / 2))] as const;
  const rightOf = new Map(order.map((member) => [member.name, rights(member, labels)]));
  const accuracyOf = (member: MeasuredMember, rows: readonly number[]) => {
    const right = rightOf.get(member.name)!;
    return rows.reduce((sum, row) => sum + right[row]!, 0) / rows.length;
  };
  const all = Array.from({ length: n }, (_, row) => row);

  /**
   * The cheapest thresholds of a subset on some rows, and how far its last answers lie above what is wanted there, errors allowed for.
   */
  const solve = (record: ExitRecord, costs: ExitCosts, rows: readonly number[]) => {
    const part = selectRows(record, rows);
    const comparedRight = rightOf.get(compared.name)!;
    /** Right answers beyond the reference's: 1, 0 or −1 a sample. */
    const gains = (said: Int32Array) =>
      rows.map((row, i) => (said[i] === part.labels[i] ? 1 : 0) - comparedRight[row]!);
    const spare = mean(gains(part.predictions.at(-1)!)) + maxAccuracyLoss;
    const within = (room: number) => {
      const goal = { maxAccuracyLoss: Math.min(1, Math.max(0, room)) };
      return solveThresholds(part, costs, goal, { effort: 0 });
    };
    const point = within(spare);
    if (standardErrors === 0 || spare < 0) return { spare, point };
    const room =
      spare - standardErrors * standardError(gains(replayChecked(part, point.thresholds, costs).predictions));
    return { spare: room, point: within(room) };
  };
  const prepared = (subset: readonly MeasuredMember[]) => ({
    record: cascadeRecord(subset, labels, answer),
    costs: costsOf(subset, objective, batch, costOf(compared)),
  });
  const promise = ({ subset, chosen }: Candidate): CascadeChoice => {
    const { record, costs } = prepared(subset);
    const seen = halves.map((rows, at) => {
      const { thresholds } = solve(record, costs, halves[1 - at]!).point;
      return replayChecked(selectRows(record, rows), thresholds, costs);
    });
    const weigh = (key: "costFraction" | "accuracy") =>
      seen.reduce((sum, point, at) => sum + (point[key] * halves[at]!.length) / n, 0);
    const { thresholds, costFraction, accuracy } = chosen;
    return {
      members: subset.map(({ name }) => name),
      temperatures: subset.map(({ temperature }) => temperature),
      thresholds,
      costFraction: weigh("costFraction"),
      accuracy: weigh("accuracy"),
      onChosen: { costFraction, accuracy },
    };
  };

  const cheapest = new Map<number, Candidate>();
  let tried = 0;
  let least = Number.POSITIVE_INFINITY;
  for (const subset of subsetsOf(order, most)) {
    if (costOf(subset[0]!) / costOf(compared) > least) continue;
    tried++;
    const { record, costs } = prepared(subset);
    const { spare, point } = solve(record, costs, all);
    if (spare < -1e-12) continue;
    const held = cheapest.get(subset.length);
    if (held === undefined || point.costFraction < held.chosen.costFraction) {
      cheapest.set(subset.length, { subset, chosen: point });
    }
    least = Math.min(least, point.costFraction);
  }
  const steps = [...cheapest].sort(([a], [b]) => a - b).map(([, candidate]) => promise(candidate));
  if (steps.length === 0) {
    const wanted = accuracyOf(compared, all) - maxAccuracyLoss;
    const actual = `none of ${tried}, ${wanted.toFixed(4)} of the samples being right`;
    throw new InputError(
      caller,
      "a cascade must reach the accuracy asked for",
      actual,
      "Ask for less, or add networks.",
    );
  }
  const best = steps.reduce((a, b) => (b.onChosen.costFraction < a.onChosen.costFraction ? b : a));
  const notes = order.flatMap((member, at) => {
    const better = order.slice(0, at).find((other) => accuracyOf(other, all) >= accuracyOf(member, all));
    return better === undefined
      ? []
      : [`"${member.name}" costs no less than "${better.name}" and is no more accurate: alone it is of no use.`];
  });
  return { best, steps, tried, referenceAccuracy: accuracyOf(compared, all), notes };
}

interface Candidate {
  readonly subset: readonly MeasuredMember[];
  /** On all samples. */
  readonly chosen: OperatingPoint;
}

function checkMeasured(measured: MeasuredMembers): MeasuredMembers {
  const { members, labels } = measured ?? {};
  if (!Array.isArray(members) || members.length === 0) {
    throw new InputError(caller, "measured must hold at least one member", "none", "measureMembers gives it.");
  }
  if (!(labels instanceof Int32Array) || labels.length < 4) {
    throw new InputError(
      caller,
      "measured must hold at least 4 samples, to halve",
      String(labels?.length ?? typeof labels),
    );
  }
  const k = members[0]!.logits.shape[1];
  for (const { name, logits, macs, milliseconds, callMilliseconds } of members as MeasuredMember[]) {
    if (logits.shape[0] !== labels.length || logits.shape[1] !== k) {
      const expectation = `logits of member "${name}" must be [${labels.length}, ${k}]`;
      throw new InputError(caller, expectation, `[${logits.shape.join(", ")}]`);
    }
    const bad = (logits.data as Float32Array).findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) {
      const actual = `${logits.data[bad]} at sample ${Math.floor(bad / k!)}`;
      throw new InputError(caller, `logits of member "${name}" must be finite`, actual);
    }
    if (!(macs > 0 && milliseconds > 0 && Number.isFinite(macs) && Number.isFinite(milliseconds))) {
      throw new InputError(caller, `costs of member "${name}" must be > 0`, `${macs} MACs, ${milliseconds} ms`);
    }
    if (!(callMilliseconds >= 0 && callMilliseconds <= milliseconds * measured.batch)) {
      const expectation = `callMilliseconds of member "${name}" must lie between 0 and a batch's ${milliseconds * measured.batch}`;
      throw new InputError(caller, expectation, `${callMilliseconds}`);
    }
  }
  return measured;
}

function* subsetsOf<T>(order: readonly T[], most: number): Subsets<T> {
  for (let size = 1; size <= Math.min(most, order.length); size++) yield* combinations(order, size);
}

function* combinations<T>(from: readonly T[], size: number): Subsets<T> {
  if (size === 0) {
    yield [];
    return;
  }
  for (let at = 0; at + size <= from.length; at++) {
    for (const rest of combinations(from.slice(at + 1), size - 1)) yield [from[at]!, ...rest];
  }
}

type Subsets<T> = IterableIterator<readonly T[]>;

function shuffle(n: number, random: Generator): number[] {
  const order = Array.from({ length: n }, (_, row) => row);
  for (let at = n - 1; at > 0; at--) {
    const other = random.integer(at + 1);
    [order[at], order[other]] = [order[other]!, order[at]!];
  }
  return order;
}

function costsOf(
  subset: readonly MeasuredMember[],
  objective: "time" | "macs",
  batch: number,
  full: number,
): ExitCosts {
  if (objective === "macs") {
    let sum = 0;
    return { exits: subset.map(({ macs }) => (sum += macs)), full };
  }
  // Calls behind the first are paid for every batch, whoever leaves where.
  const calls = subset.map(({ callMilliseconds }, j) => (j === 0 ? 0 : callMilliseconds / batch));
  let sum = calls.reduce((a, b) => a + b, 0);
  return { exits: subset.map(({ milliseconds }, j) => (sum += Math.max(milliseconds - calls[j]!, 1e-9))), full };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Of the mean: √(variance ÷ n). */
function standardError(values: readonly number[]): number {
  const middle = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)) / values.length);
}

function rights({ logits }: MeasuredMember, labels: Int32Array): Uint8Array {
  return Uint8Array.from(labels, (label, row) => (best(logits.data, row, logits.shape[1]!) === label ? 1 : 0));
}

function best(data: ArrayLike<number>, row: number, k: number): number {
  let column = 0;
  for (let c = 1; c < k; c++) if (data[row * k + c]! > data[row * k + column]!) column = c;
  return column;
}

/**
 * The record that a cascade of these members gives, worked out from what they said alone: to replay cascades that were never built.
 * Confidences are largest probabilities.
 *
 * @param members One or more, in the order in which they would be run.
 * @param labels `[n]` the true classes.
 */
export function cascadeRecord(
  members: readonly MeasuredMember[],
  labels: Int32Array,
  answer: "own" | "averaged",
): ExitRecord {
  checkArguments("early-exit.cascadeRecord", {
    members: [members, "a list"],
    labels: [labels, "numbers or bigints"],
    answer: [answer, "a string"],
  });
  const n = labels.length;
  const k = members[0]!.logits.shape[1]!;
  const sums = new Float64Array(n * k);
  const rows = members.map(({ logits }, j) => {
    let scores: Float32Array | Float64Array = logits.data;
    if (answer === "averaged") {
      addProbabilities(sums, logits.data, k);
      if (j > 0) scores = sums.map((sum) => Math.log(Math.max(sum / (j + 1), 1e-30)));
    }
    const dtype = scores instanceof Float32Array ? "float32" : "float64";
    const sure = confidences({ dtype, shape: [n, k], data: scores } as MeasuredMember["logits"], "maxProbability");
    return {
      confidences: Float32Array.from(sure),
      predictions: Int32Array.from({ length: n }, (_, row) => best(scores, row, k)),
    };
  });
  return {
    exits: members.map(({ name }) => name),
    n,
    labels,
    confidences: rows.map((row) => row.confidences),
    predictions: rows.map((row) => row.predictions),
  };
}

function addProbabilities(sums: Float64Array, logits: Float32Array, k: number): void {
  for (let start = 0; start < logits.length; start += k) {
    let most = Number.NEGATIVE_INFINITY;
    for (let c = 0; c < k; c++) most = Math.max(most, logits[start + c]!);
    let total = 0;
    for (let c = 0; c < k; c++) total += Math.exp(logits[start + c]! - most);
    for (let c = 0; c < k; c++) sums[start + c] = sums[start + c]! + Math.exp(logits[start + c]! - most) / total;
  }
}
