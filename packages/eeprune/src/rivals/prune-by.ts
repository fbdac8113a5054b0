import { type Generator, InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { integers } from "../columns/column.ts";
import { pruneByEarlyExit } from "../criterion/prune-by-early-exit.ts";
import { balanceOption, generatorOption, ratioOption, vanishingOption } from "../options.ts";
import { type Balance, groupsOf, nameWith } from "../selection/groups.ts";
import { markLargest } from "../selection/mark-largest.ts";
import { countOf, type Selection, selectionOf, type Vanishing } from "../selection/selection.ts";
import { checkScores, type Evidence, need } from "./evidence.ts";
import {
  CHOICES,
  type Given,
  type MethodFacts,
  type MethodSettings,
  orderOf,
  SCORES,
  type ScoreName,
} from "./methods.ts";
import { averagedEarly } from "./over-epochs.ts";

/** The name of a method of {@link pruneBy}. */
export type MethodName = "auto" | "eeprune" | "balancedRandom" | ScoreName | keyof typeof CHOICES;

/** The largest ratio at which `auto` prunes the easiest. */
const EASIEST_UP_TO = 0.5;
/** The share of samples that both exits must answer rightly before `auto` takes their word for what is easy; ours, set after two results. */
const LEARNED = 0.8;

const balancedRandom: MethodFacts = { needs: [], cost: "no training", source: "random, the same share of every class" };

const eeprune: MethodFacts = {
  needs: ["early", "final"],
  cost: "one brief run",
  source:
    "Görmez, Koyuncu, Dataset Pruning Using Early Exit Networks, ACM TIST 17(1), 2026; filled by early confidence",
};

const auto: MethodFacts = {
  needs: ["early", "final"],
  cost: "one brief run",
  source:
    "ours: eeprune up to half of a set that is learned, else coverage, where pruning the easiest is worse than random",
};

/** Every method with what it needs, what it costs and where it is from. */
export const METHODS: Readonly<Record<MethodName, MethodFacts>> = {
  auto,
  eeprune,
  balancedRandom,
  ...factsOf(SCORES),
  ...factsOf(CHOICES),
};

function factsOf<Name extends string>(methods: Readonly<Record<Name, MethodFacts>>): Record<Name, MethodFacts> {
  const facts = Object.entries<MethodFacts>(methods).map(([name, { needs, cost, source }]) => [
    name,
    { needs, cost, source },
  ]);
  return Object.fromEntries(facts) as Record<Name, MethodFacts>;
}

/** Options of {@link pruneBy}. */
export interface PruneByOptions {
  /** The share of all samples that goes, in (0, 1). */
  readonly ratio: number;
  /** Whether every class loses the same share, or the more the easier it is at the early exit (`byDifficulty`). Default false. */
  readonly balanced?: Balance;
  /** What to do about a class of which nothing would be kept. Default `refuse`. */
  readonly vanishing?: Vanishing;
  /** Breaks ties, and draws where a method draws. */
  readonly generator: Generator;
  /** `coverage` and `bothEnds`: whose score says what is hard. Default `earlyProbability`. */
  readonly over?: ScoreName;
  /**
   * `coverage` and `bothEnds`: the share of all samples, in [0, 1), that goes as the hardest. Default: 0 up to a ratio of ½, then rising in
   * a line to 0.1 at 0.7, and to 0.3 at 0.9 and above. See {@link chooseCut}.
   */
  readonly cut?: number;
  /** `coverage`: strata. Default 50. */
  readonly strata?: number;
  /** `prototypes`: clusters. Default the number of classes. */
  readonly clusters?: number;
  /** `dynamicUncertainty`: epochs of a window. Default 10. */
  readonly window?: number;
  /**
   * What the early exit's confidences and probabilities are means of: its last so many epochs, as each sample was seen in them while it
   * trained. Default 0: as they are at the end.
   */
  readonly averaged?: number;
}

const optionsSchema = z.strictObject({
  ratio: ratioOption,
  balanced: balanceOption,
  vanishing: vanishingOption,
  generator: generatorOption,
  over: z.enum(Object.keys(SCORES) as [ScoreName, ...ScoreName[]]).default("earlyProbability"),
  cut: z.number().min(0).lt(1).optional(),
  strata: z.int().min(1).default(50),
  clusters: z.int().min(1).optional(),
  window: z.int().min(2).default(10),
  averaged: z.int().min(0).default(0),
});

const caller = "eeprune.pruneBy";

/**
 * Prunes by any method, all with the same evidence, the same options and the same result: {@link METHODS} says what each needs,
 * costs and is from. Exactly round(r·n) samples go; ties are broken at random.
 *
 * `auto` is the one to begin with: `eeprune` up to a ratio of ½ where four of five samples are right at both exits, and else `coverage`
 * over the early exit's probabilities, as pruning the easiest does worse than random where more goes, or where the brief run has not
 * learned most samples yet; the selection says which it was.
 *
 * @throws InputError on an unknown method, evidence that is missing or does not fit, an option that is unknown or out of range, or
 * a class that would vanish.
 * @example
 * ```ts
 * import { generator, tensor } from "@exitkit/core-gpu";
 * import { pruneBy, scoreColumns } from "@exitkit/eeprune";
 * const labels = [0, 0, 1, 1];
 * const final = scoreColumns(tensor("float32", [4, 2], [4, 0, 1, 0, 0, 3, 1, 0]), labels);
 * const { kept, pruned } = pruneBy("el2n", { labels, classes: 2, final }, { ratio: 0.5, generator: generator(1) });
 * console.assert(pruned.join() === "0,2" && kept.join() === "1,3"); // the two with the smallest errors go
 * ```
 */
export function pruneBy(method: MethodName, given: Evidence, options: PruneByOptions): Selection {
  const checked = parseOptions(caller, optionsSchema, options);
  if (typeof method !== "string" || !Object.hasOwn(METHODS, method)) {
    throw new InputError(caller, `the method must be one of ${Object.keys(METHODS).join(", ")}`, `"${String(method)}"`);
  }
  checkEvidence(given);
  const { ratio, balanced, vanishing, averaged } = checked;
  const evidence = averaged === 0 ? given : averagedEarly(caller, method, given, averaged);
  const random = options.generator;
  if (method === "auto") return pruneByRegime(evidence, { ...options, averaged: 0 });
  if (method === "eeprune") {
    return pruneByEarlyExit(earlyExitColumns(method, evidence), {
      classes: evidence.classes,
      ratio,
      balanced,
      vanishing,
      shortfall: "fillByEarlyConfidence",
      generator: random,
    });
  }
  const { labels, order } = orderOf(caller, evidence);
  const balance = method === "balancedRandom" && balanced === false ? true : balanced;
  const { over, strata, clusters = evidence.classes, window, cut = usualCut(ratio) } = checked;
  const settings: MethodSettings = { over, cut, strata, clusters, window };
  const material: Given = { caller, method, evidence, labels, order, settings, random };
  const goes = new Uint8Array(labels.length);
  const groups = groupsOf(
    labels,
    evidence.classes,
    countOf(labels.length, ratio),
    balance,
    wrongEarly(material, balance),
  );
  if (Object.hasOwn(CHOICES, method)) {
    const { keep } = CHOICES[method as keyof typeof CHOICES];
    for (const { rows, count } of groups) {
      for (const row of rows) goes[row] = 1;
      if (rows.length > count) for (const row of keep(material, rows, rows.length - count)) goes[row] = 0;
    }
  } else {
    const name = method === "balancedRandom" ? "random" : (method as ScoreName);
    const scores = SCORES[name].score(material);
    if (scores.length !== labels.length) {
      throw new InputError(caller, `columns must have ${labels.length} elements, as labels has`, `${scores.length}`);
    }
    checkScores(caller, method, scores);
    const keys = scores.map((score) => -score);
    for (const { rows, count } of groups) markLargest(goes, rows, keys, count, random);
  }
  return selectionOf({
    caller,
    method: nameWith(method, balanced),
    ids: order.ids,
    labels,
    classes: evidence.classes,
    goes,
    ratio,
    threshold: null,
    missing: 0,
    warnings: [],
    vanishing,
  });
}

/** Where the early exit is wrong, in the order of the ids; only quotas by difficulty need it. */
function wrongEarly({ caller, method, evidence, labels, order }: Given, balance: Balance): Uint8Array | undefined {
  if (balance !== "byDifficulty") return undefined;
  const early = order.sorted(need(caller, `${method}, by difficulty`, evidence, "early").prediction);
  return Uint8Array.from(labels, (label, i) => (early[i] === label ? 0 : 1));
}

/** The easiest go where the network has learned most samples and at most half are to go; else samples of all kinds. */
function pruneByRegime(evidence: Evidence, options: PruneByOptions): Selection {
  const { labels: given, earlyPrediction, finalPrediction } = earlyExitColumns("auto", evidence);
  const labels = integers(caller, "labels", given, { below: evidence.classes });
  const [early, final] = [earlyPrediction, finalPrediction].map((answers) =>
    integers(caller, "predictions", answers, { n: labels.length, below: evidence.classes }),
  );
  const right = labels.filter((label, i) => early![i] === label && final![i] === label).length;
  const easiest = options.ratio <= EASIEST_UP_TO && right >= LEARNED * labels.length;
  const selection = pruneBy(easiest ? "eeprune" : "coverage", evidence, options);
  return { ...selection, method: `auto: ${selection.method}` };
}

function earlyExitColumns(method: string, evidence: Evidence) {
  const early = need(caller, method, evidence, "early");
  const final = need(caller, method, evidence, "final");
  const { labels, ids } = evidence;
  return {
    labels,
    earlyPrediction: early.prediction,
    finalPrediction: final.prediction,
    earlyConfidence: early.confidence,
    ...(ids === undefined ? {} : { ids }),
  };
}

/** Source: the cuts that Zheng et al. chose for CIFAR-10, 0 up to ½, .1 at .7, .3 at .9 [D: read as a line between]. */
function usualCut(ratio: number): number {
  if (ratio <= 0.5) return 0;
  return ratio <= 0.7 ? (ratio - 0.5) / 2 : Math.min(0.3, 0.1 + (ratio - 0.7));
}

function checkEvidence(evidence: Evidence): void {
  if (typeof evidence !== "object" || evidence === null) {
    throw new InputError(caller, "evidence must be a record { labels, classes, … }", String(evidence));
  }
  if (!Number.isSafeInteger(evidence.classes) || evidence.classes < 2) {
    throw new InputError(caller, "evidence.classes must be a whole number ≥ 2", String(evidence.classes));
  }
}
