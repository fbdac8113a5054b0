import type { Generator } from "@exitkit/core-gpu";
import { type ById, byId } from "../columns/by-id.ts";
import { integers, type Reals, reals } from "../columns/column.ts";
import { bothEnds } from "../selection/both-ends.ts";
import { coverage } from "../selection/coverage.ts";
import { herding, kCentre, moderate, norms, prototypes } from "./by-features.ts";
import { complexityGap } from "./complexity-gap.ts";
import { checkScores, type Evidence, type Matrix, matrixOf, need, type RunEvidence, reordered } from "./evidence.ts";
import { areaUnderMargin, dynamicUncertainty, forgettingEvents, unseenLast } from "./over-epochs.ts";

/** Settings that some methods have. */
export interface MethodSettings {
  /** `coverage`, `bothEnds`: whose score says what is hard. Default `earlyProbability`. */
  readonly over: ScoreName;
  /** `coverage`, `bothEnds`: the share of all samples, in [0, 1), that goes as the hardest. */
  readonly cut: number;
  /** `coverage`: strata. Default 50. */
  readonly strata: number;
  /** `prototypes`: clusters. Default the number of classes. */
  readonly clusters: number;
  /** `dynamicUncertainty`: epochs of a window. Default 10. */
  readonly window: number;
}

/** What a method is given. Everything is in the order of the ids. */
export interface Given {
  readonly caller: string;
  readonly method: string;
  readonly evidence: Evidence;
  readonly labels: Int32Array;
  readonly order: ById;
  readonly settings: MethodSettings;
  readonly random: Generator;
}

/** What a method costs and where it is from, for people. */
export interface MethodFacts {
  /** Parts of the evidence that it reads beside the labels. */
  readonly needs: readonly (keyof Evidence)[];
  readonly cost: string;
  readonly source: string;
}

/** A score of every sample: the largest are kept. */
interface Scoring extends MethodFacts {
  readonly score: (given: Given) => Reals;
}

/** A choice of some of the rows to keep. */
interface Choosing extends MethodFacts {
  readonly keep: (given: Given, rows: Int32Array, count: number) => Int32Array;
}

const NOTHING = "no training";
const ONE_RUN = "one brief run";

/** A column of the final exit at the end of training. */
function ofFinal(column: "margin" | "confidence", sign: 1 | -1): Scoring["score"] {
  return ({ caller, method, evidence, order }) => {
    const scores = need(caller, method, evidence, "final")[column];
    return order.sorted(scores.map((value) => sign * value));
  };
}

function runsOf({ caller, method, evidence }: Given): readonly RunEvidence[] {
  const final = need(caller, method, evidence, "final");
  return [{ final, features: evidence.features ?? null }, ...(evidence.runs ?? [])];
}

function meanOver(runs: readonly Float64Array[]): Float64Array {
  return runs[0]!.map((_, i) => runs.reduce((sum, run) => sum + run[i]!, 0) / runs.length);
}

function matrix({ caller, method, evidence, order }: Given, part: "features" | "inputs"): Matrix {
  const found = matrixOf(caller, `evidence.${part}`, need(caller, method, evidence, part), order.n);
  const rows = order.sorted(Int32Array.from({ length: order.n }, (_, i) => i));
  return rows.every((row, i) => row === i) ? found : reordered(found, rows);
}

/** Methods that give every sample a score, higher = kept. */
export const SCORES = {
  random: {
    needs: [],
    cost: NOTHING,
    source: "the rival that everything must beat",
    score: ({ order, random }) => Float64Array.from({ length: order.n }, () => random.uniform()),
  },
  el2n: {
    needs: ["final"],
    cost: "a brief run, better ten (evidence.runs)",
    source: "Paul, Ganguli, Dziugaite, Deep Learning on a Data Diet, NeurIPS 2021: ‖p − onehot(y)‖₂, mean over runs",
    score: (given) => given.order.sorted(meanOver(runsOf(given).map(({ final }) => final.errorNorm))),
  },
  grand: {
    needs: ["final", "features"],
    cost: "a brief run, better ten (evidence.runs)",
    source:
      "Paul et al. 2021: the norm of a sample's gradient; of the last linear layer only, ‖p − onehot(y)‖₂·√(‖h‖² + 1), as DeepCore",
    score: (given) => {
      const { caller, method, order } = given;
      const runs = runsOf(given).map(({ final, features }) => {
        const h = norms(
          matrixOf(
            caller,
            "evidence.features",
            need(caller, method, { ...given.evidence, features: features ?? null }, "features"),
            order.n,
          ),
        );
        return final.errorNorm.map((error, i) => error * Math.sqrt(h[i]! ** 2 + 1));
      });
      return order.sorted(meanOver(runs));
    },
  },
  grandFull: {
    needs: ["gradientNorms"],
    cost: "a brief run, better ten (evidence.runs), and a backward pass for each sample",
    source: "Paul et al. 2021: the norm of a sample's gradient with respect to all parameters, mean over runs",
    score: ({ caller, method, evidence, order }) => {
      const runs = [evidence, ...(evidence.runs ?? [])].map((run) =>
        Float64Array.from(
          reals(
            caller,
            "gradientNorms",
            need(caller, method, { ...evidence, gradientNorms: run.gradientNorms! }, "gradientNorms"),
            {
              n: order.n,
              from: 0,
            },
          ),
        ),
      );
      return order.sorted(meanOver(runs));
    },
  },
  forgetting: {
    needs: ["epochs"],
    cost: "a whole run (here: the brief one)",
    source: "Toneva et al., An Empirical Study of Example Forgetting, ICLR 2019; never learned is above every count",
    score: ({ caller, method, evidence, labels, order }) => {
      const epochs = need(caller, method, evidence, "epochs");
      const inRows = integers(caller, "labels", evidence.labels, { n: labels.length });
      return order.sorted(forgettingEvents(epochs, inRows));
    },
  },
  areaUnderMargin: {
    needs: ["epochs"],
    cost: "a whole run (here: the brief one)",
    source: "Pleiss et al., Area Under the Margin Ranking, NeurIPS 2020; the largest areas go",
    score: ({ caller, method, evidence, order }) => {
      const areas = areaUnderMargin(need(caller, method, evidence, "epochs"), order.n);
      return order.sorted(unseenLast(areas.map((area) => -area)));
    },
  },
  dynamicUncertainty: {
    needs: ["epochs"],
    cost: "a whole run (here: the brief one)",
    source: "He et al., Large-scale Dataset Pruning with Dynamic Uncertainty, 2023",
    score: ({ caller, method, evidence, order, settings }) => {
      const epochs = need(caller, method, evidence, "epochs");
      return order.sorted(unseenLast(dynamicUncertainty(epochs, order.n, settings.window)));
    },
  },
  margin: {
    needs: ["final"],
    cost: ONE_RUN,
    source: "uncertainty sampling: the largest probability less the second; the largest margins go",
    score: ofFinal("margin", -1),
  },
  leastConfidence: {
    needs: ["final"],
    cost: ONE_RUN,
    source: "uncertainty sampling: the largest probability; the surest go",
    score: ofFinal("confidence", -1),
  },
  earlyProbability: {
    needs: ["early"],
    cost: ONE_RUN,
    source: "one less the label's probability at the early exit; ours, for strata",
    score: ({ caller, method, evidence, order }) =>
      order.sorted(need(caller, method, evidence, "early").labelProbability.map((p) => 1 - p)),
  },
  selectionViaProxy: {
    needs: ["proxy"],
    cost: "a run of a small network",
    source: "Coleman et al., Selection via Proxy, ICLR 2020: least confidence of a proxy",
    score: ({ caller, method, evidence, order }) =>
      order.sorted(need(caller, method, evidence, "proxy").final.confidence.map((confidence) => -confidence)),
  },
  complexityGap: {
    needs: ["inputs"],
    cost: "no training; a factorisation for every 500 samples",
    source: "Ki, Choi, Kwak, Data Valuation without Training of a Model, ICLR 2023",
    score: (given) => complexityGap(matrix(given, "inputs"), given.labels, given.evidence.classes, given.random),
  },
  inputNorm: {
    needs: ["inputs"],
    cost: NOTHING,
    source: "the norm of the sample itself, a control without learning; the smallest go [D]",
    score: (given) => norms(matrix(given, "inputs")),
  },
  moderate: {
    needs: ["features"],
    cost: ONE_RUN,
    source: "Xia et al., Moderate Coreset, ICLR 2023",
    score: (given) => moderate(matrix(given, "features"), given.labels, given.evidence.classes),
  },
  prototypes: {
    needs: ["features"],
    cost: "features of any network, labels unseen; k-means",
    source: "Sorscher et al., Beyond neural scaling laws, NeurIPS 2022",
    score: (given) => prototypes(matrix(given, "features"), given.settings.clusters, given.random),
  },
} as const satisfies Record<string, Scoring>;

/** Names of the methods that score. */
export type ScoreName = keyof typeof SCORES;

/** Methods that choose what stays without a score of its own for every sample. */
export const CHOICES = {
  coverage: {
    needs: ["early"],
    cost: ONE_RUN,
    source:
      "Zheng et al., Coverage-centric Coreset Selection, ICLR 2023, over the early exit's probability of the label",
    keep: (given, rows, count) => {
      const { settings, random } = given;
      return coverage(rows, hardnessOf(given), count, Math.floor(settings.cut * rows.length), settings.strata, random);
    },
  },
  bothEnds: {
    needs: ["early"],
    cost: ONE_RUN,
    source: "ours: the hardest go as noise, the easiest as redundant; chooseCut says how many of either",
    keep: (given, rows, count) => {
      const { settings, random } = given;
      return bothEnds(rows, hardnessOf(given), count, Math.floor(settings.cut * rows.length), random);
    },
  },
  herding: {
    needs: ["features"],
    cost: "a brief run; n·d for each sample kept",
    source: "Welling, Herding Dynamical Weights to Learn, ICML 2009",
    keep: (given, rows, count) => herding(matrix(given, "features"), rows, count),
  },
  kCentre: {
    needs: ["features"],
    cost: "a brief run; n·d for each sample kept",
    source: "Sener, Savarese, Active Learning for CNNs: A Core-Set Approach, ICLR 2018",
    keep: (given, rows, count) => kCentre(matrix(given, "features"), rows, count),
  },
} as const satisfies Record<string, Choosing>;

/** The scores that say what is hard. */
function hardnessOf(given: Given): Reals {
  const { over } = given.settings;
  const hardness: Reals = SCORES[over].score({ ...given, method: `${given.method} over ${over}` });
  checkScores(given.caller, over, hardness);
  return hardness;
}

/** Rows in the order of the ids. */
export function orderOf(caller: string, evidence: Evidence): { readonly labels: Int32Array; readonly order: ById } {
  const labels = integers(caller, "labels", evidence.labels, { below: evidence.classes });
  const order = byId(caller, labels.length, evidence.ids);
  return { labels: order.sorted(labels), order };
}
