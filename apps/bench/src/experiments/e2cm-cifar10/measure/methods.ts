import {
  type AccumulateOptions,
  accumulateStatistics,
  type ClassMeansExit,
  type ClassStatistics,
  type DistanceRule,
  exitRecord,
  type FittedExits,
  quantisedExits,
  recordScores,
  type ScoreRecord,
  type Shrinkage,
  solveExits,
} from "@exitkit/e2cm";
import type { ExitRecord } from "@exitkit/early-exit";
import { slicePictures } from "../../../data/pictures.ts";
import { counted } from "../../../measuring/counted.ts";
import { CLASSES, depthTaps, type Subject } from "./subject.ts";

/** A way to make exits, and what they scored. */
export interface Method {
  readonly metric: "euclidean" | "sharedCovariance";
  /** Which features, and of how many bits. */
  readonly variant: string;
  /** Several where calibration pictures choose among shrinkages, exit by exit. */
  readonly fits: readonly Fit[];
}

interface Fit {
  readonly fitted: FittedExits;
  /** Of training pictures, for the paper's choice of thresholds. */
  readonly train: ScoreRecord;
  readonly test: ScoreRecord;
}

const RULES: readonly DistanceRule[] = ["normalised", "raw", "perSampleMaximum"];

/** Those of e2cm's `fit`. */
const SHRINKAGES: readonly Shrinkage[] = ["analytic", 0.1, 0.3];

/**
 * All exits that are compared, from three passes over the training pictures: the paper's class means of full features, pooled features, and
 * the package's second moments. What they score rides on one pass over each set of pictures, so that all else is replay.
 */
export async function fitMethods(subject: Subject): Promise<readonly Method[]> {
  const { context, backbone, device, data, settings, key } = subject;
  const { run, progress } = context;
  const { name, model } = backbone;
  const taps = depthTaps(subject);
  const sums = (step: string, words: string, options: Omit<AccumulateOptions, "classes">) =>
    run.step(key(step), () =>
      accumulateStatistics(model, counted(progress, `${name}: ${words}`, data.train), {
        classes: CLASSES,
        device,
        ...options,
      }),
    );
  const full = await sums("class-means", "class means of full features", { metric: "euclidean", taps });
  const pooled =
    settings.pooled && (await sums("pooled-sums", "sums of pooled features", { features: "pooled", taps }));
  const moments = await sums("moment-sums", "sums of pooled features and second moments", {});

  const means = (statistics: ClassStatistics) => solveExits(model, statistics, { metric: "euclidean", device });
  const shared = (statistics: ClassStatistics, shrinkage?: Shrinkage) =>
    solveExits(model, statistics, {
      metric: "sharedCovariance",
      ...(shrinkage !== undefined && { shrinkage }),
      device,
    });
  const fullMeans = await means(full);
  const pooledFits = pooled === false ? null : { means: await means(pooled), shared: await shared(pooled) };
  const momentFits: FittedExits[] = [];
  for (const shrinkage of SHRINKAGES) momentFits.push(await shared(moments, shrinkage));
  const described: readonly (readonly [Method["metric"], string, readonly FittedExits[]])[] = [
    ["euclidean", "full", [fullMeans]],
    ["euclidean", "pooled4x4", pooledFits === null ? [] : [pooledFits.means]],
    ["euclidean", "int8", [quantisedExits(fullMeans)]],
    ["euclidean", "pooled4x4 int8", pooledFits === null ? [] : [quantisedExits(pooledFits.means)]],
    ["sharedCovariance", "moments", momentFits],
    ["sharedCovariance", "moments int8", momentFits.map(quantisedExits)],
    ["sharedCovariance", "pooled4x4", pooledFits === null ? [] : [pooledFits.shared]],
  ];

  const all = { ...fullMeans, exits: described.flatMap(([, , fits]) => fits.flatMap(({ exits }) => exits)) };
  const scoresOf = (step: string, words: string, pictures: typeof data.test) =>
    run.step(key(step), () => recordScores(model, all, counted(progress, `${name}: ${words}`, pictures), { device }));
  const few = slicePictures(data.train, 0, Math.min(settings.thresholdPictures, data.train.n));
  const train = await scoresOf("scores-train", "scores of training pictures", few);
  const test = await scoresOf("scores-test", "scores of test pictures", data.test);
  let from = 0;
  const made = described.filter(([, , fits]) => fits.length > 0);
  return made.map(([metric, variant, fits]) => ({
    metric,
    variant,
    fits: fits.map((fitted) => {
      const own = takeExits(train, from, fitted.exits.length);
      const fit = {
        fitted: withMeanDistances(fitted, own),
        train: own,
        test: takeExits(test, from, fitted.exits.length),
      };
      from += fitted.exits.length;
      return fit;
    }),
  }));
}

/** The rules a metric knows; the first is the package's. */
export function rulesOf({ metric }: Method): readonly (DistanceRule | "posterior")[] {
  return metric === "euclidean" ? RULES : ["posterior"];
}

/** What the exits of a method answer by a rule, a record for each fit. */
export function recordsOf(
  { fits }: Method,
  pictures: "train" | "test",
  rule: DistanceRule | "posterior" = "normalised",
): readonly ExitRecord[] {
  const options = rule === "posterior" ? {} : { rule };
  return fits.map((fit) => exitRecord(fit.fitted, fit[pictures], options));
}

/** m_k of the paper: mean distances over the recorded training pictures. */
function withMeanDistances(fitted: FittedExits, { n, scores }: ScoreRecord): FittedExits {
  const exits = fitted.exits.map((exit, index) => {
    if (exit.metric !== "euclidean") return exit;
    const distances = new Float64Array(CLASSES);
    scores[index]!.forEach((distance, at) => {
      distances[at % CLASSES]! += distance / n;
    });
    return { ...exit, distances: Float32Array.from(distances) } satisfies ClassMeansExit;
  });
  return { ...fitted, exits };
}

function takeExits(scores: ScoreRecord, from: number, count: number): ScoreRecord {
  return { ...scores, scores: [...scores.scores.slice(from, from + count), scores.scores.at(-1)!] };
}
