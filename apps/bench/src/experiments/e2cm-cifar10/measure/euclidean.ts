import { generator } from "@exitkit/core-gpu";
import {
  accumulateStatistics,
  type ClassMeansExit,
  type ClassStatistics,
  type DistanceRule,
  exitRecord,
  type FittedExits,
  quantisedExits,
  recordScores,
  type ScoreRecord,
  solveExits,
} from "@exitkit/e2cm";
import { agreementFrontier, type ExitRecord, fitAgreement, searchThresholds } from "@exitkit/early-exit";
import { slicePictures } from "../../../data/pictures.ts";
import { accuracyAt } from "../../../measuring/answers.ts";
import { counted } from "../../../measuring/counted.ts";
import { foldRecords } from "../../../measuring/halves.ts";
import type { FrontierRow } from "../schema.ts";
import { CLASSES, confusionMatrix, depthOf, depthTaps, type Subject } from "./network.ts";
import { paperRows, soundRows } from "./protocols.ts";

const RULES: readonly DistanceRule[] = ["normalised", "raw", "perSampleMaximum"];

/** What each exit of each variant scored, on training pictures (for thresholds and mean distances) and on test pictures. */
interface Scored {
  readonly fitted: FittedExits;
  readonly train: ScoreRecord;
  readonly test: ScoreRecord;
}

/** The paper's method: plain class means of full features, beside pooled and int8 ones; all three distance rules. */
export async function euclideanPart(subject: Subject, pooledStatistics: ClassStatistics) {
  const { context, backbone, device, data, settings, key } = subject;
  const { run, progress } = context;
  const { name, model } = backbone;
  const train = slicePictures(data.train, 0, Math.min(settings.thresholdPictures, data.train.n));

  const statistics = await run.step(key("class-means"), () =>
    accumulateStatistics(model, counted(progress, `${name}: class means of full features`, data.train), {
      classes: CLASSES,
      metric: "euclidean",
      taps: depthTaps(subject),
      device,
    }),
  );
  const full = await solveExits(model, statistics, { metric: "euclidean", device });
  const pooled = await solveExits(model, pooledStatistics, { metric: "euclidean", device });
  const variants = { full, pooled4x4: pooled, int8: quantisedExits(full), "pooled4x4 int8": quantisedExits(pooled) };

  // All variants ride on one pass over each set of pictures.
  const all = { ...full, exits: Object.values(variants).flatMap(({ exits }) => exits) };
  const record = async (title: string, pictures: typeof train) =>
    recordScores(model, all, counted(progress, title, pictures), { device });
  const trainScores = await run.step(key("distances-train"), () =>
    record(`${name}: distances of training pictures`, train),
  );
  const testScores = await run.step(key("distances-test"), () =>
    record(`${name}: distances of test pictures`, data.test),
  );
  let from = 0;
  const scored = Object.entries(variants).map(([variant, fitted]): [string, Scored] => {
    const taken = (scores: ScoreRecord) => takeExits(scores, from, fitted.exits.length);
    const [own, test] = [taken(trainScores), taken(testScores)];
    from += fitted.exits.length;
    return [variant, { fitted: withMeanDistances(fitted, own), train: own, test }];
  });
  return { ...tables(subject, scored), rows: scored.flatMap(([variant, one]) => frontierRows(subject, variant, one)) };
}

/** m_k of the paper: mean distances over the recorded training pictures. */
function withMeanDistances(fitted: FittedExits, { n, scores }: ScoreRecord): FittedExits {
  const exits = fitted.exits.map((exit, index) => {
    const distances = new Float64Array(CLASSES);
    scores[index]!.forEach((distance, at) => {
      distances[at % CLASSES]! += distance / n;
    });
    return { ...(exit as ClassMeansExit), distances: Float32Array.from(distances) };
  });
  return { ...fitted, exits };
}

function takeExits(scores: ScoreRecord, from: number, count: number): ScoreRecord {
  return { ...scores, scores: [...scores.scores.slice(from, from + count), scores.scores.at(-1)!] };
}

function tables(subject: Subject, scored: readonly (readonly [string, Scored])[]) {
  const backbone = subject.backbone.name;
  const metric = "euclidean";
  const perExit = scored.flatMap(([variant, { fitted, test }]) => {
    const record = exitRecord(fitted, test);
    return fitted.exits.map((exit, index) => ({
      backbone,
      metric,
      variant,
      exit: exit.tap,
      depth: depthOf(subject, exit.tap),
      macsFraction: fitted.costs.exits[index]! / fitted.costs.full,
      accuracy: accuracyAt(record, index),
    }));
  });
  const { fitted, test } = scored[0]![1];
  const record = exitRecord(fitted, test);
  const confusion = fitted.exits.map((exit, index) => ({
    backbone,
    metric,
    exit: exit.tap,
    depth: depthOf(subject, exit.tap),
    matrix: confusionMatrix(record.predictions[index]!, record.labels),
  }));
  return { perExit, confusion };
}

/**
 * Frontiers of the exits by all three rules: under the paper's protocol with its random search of thresholds, under the sound
 * one with the thresholds of one common probability of agreeing with the full network, as for shared covariance.
 */
function frontierRows(
  { backbone, context, settings }: Subject,
  variant: string,
  { fitted, train, test }: Scored,
): readonly FrontierRow[] {
  return RULES.flatMap((rule) => {
    const label = { backbone: backbone.name, metric: "euclidean", rule, variant };
    const search = (record: ExitRecord) =>
      searchThresholds(record, fitted.costs, { draws: settings.draws, random: generator(context.seed) });
    const tested = exitRecord(fitted, test, { rule });
    const halves = foldRecords(tested);
    const sound = [halves, [halves[1], halves[0]] as const].map(([calibration, report]) => ({
      points: agreementFrontier(calibration, fitted.costs, fitAgreement(calibration)),
      calibrationAccuracy: accuracyAt(calibration, calibration.exits.length - 1),
      report,
      costs: fitted.costs,
    }));
    return [
      ...paperRows(label, search(exitRecord(fitted, train, { rule })), tested, fitted.costs),
      ...soundRows(label, sound),
    ];
  });
}
