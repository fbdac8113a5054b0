import {
  accumulateStatistics,
  type ClassStatistics,
  calibrateExits,
  exitRecord,
  type FittedExits,
  quantisedExits,
  recordScores,
  solveExits,
} from "@exitkit/e2cm";
import type { ExitRecord } from "@exitkit/early-exit";
import { type Pictures, slicePictures } from "../../../data/pictures.ts";
import { accuracyAt } from "../../../measuring/answers.ts";
import { counted } from "../../../measuring/counted.ts";
import { folds } from "../../../measuring/halves.ts";
import type { FrontierRow } from "../schema.ts";
import { CLASSES, confusionMatrix, depthOf, type Subject } from "./network.ts";
import { type Fold, paperRows, soundRows } from "./protocols.ts";

const METRIC = "sharedCovariance";

const SHRINKAGES = ["analytic", 0.1, 0.3] as const;

/** One after the other: each uses the whole machine. */
async function inTurn<T, R>(items: readonly T[], work: (item: T, index: number) => Promise<R>): Promise<readonly R[]> {
  const results: R[] = [];
  for (const [index, item] of items.entries()) results.push(await work(item, index));
  return results;
}

/** Exits fitted with each half of the test pictures for calibration, and what they said about the other half. */
export interface SoundFit {
  readonly fitted: FittedExits;
  readonly report: ExitRecord;
}

/** Statistics for shared covariance over 4×4-pooled features: every third of the depth or finer, as the taps say. */
export function pooledStatistics(subject: Subject, taps: readonly string[]): Promise<ClassStatistics> {
  const { context, backbone, device, data } = subject;
  const stream = counted(context.progress, `${backbone.name}: sums of pooled features`, data.train);
  return accumulateStatistics(backbone.model, stream, { classes: CLASSES, features: "pooled", taps, device });
}

/** The default of the package: shared covariance over pooled features and second moments at three exits. */
export async function sharedPart(subject: Subject, pooled: ClassStatistics) {
  const { context, backbone, device, data, settings, key } = subject;
  const { run, progress } = context;
  const { name, model } = backbone;
  const halves = folds(data);
  const train = slicePictures(data.train, 0, Math.min(settings.thresholdPictures, data.train.n));
  // One closed form for each shrinkage; calibration pictures choose among them, exit by exit.
  const solved = (statistics: ClassStatistics) =>
    inTurn(SHRINKAGES, (shrinkage) => solveExits(model, statistics, { metric: METRIC, shrinkage, device }));
  const calibrated = (title: string, candidates: readonly FittedExits[], pictures: Pictures) =>
    calibrateExits(model, candidates, { calibration: counted(progress, `${name}: ${title}`, pictures), device });

  const fits = await run.step(key("shared-covariance"), async () => {
    const stream = counted(progress, `${name}: sums of pooled features and second moments`, data.train);
    const moments = await solved(await accumulateStatistics(model, stream, { classes: CLASSES, device }));
    const early = { ...pooled, exits: pooled.exits.filter(({ tap }) => tap !== backbone.blocks.at(-1)) };
    const pooledExits = await solveExits(model, early, { metric: METRIC, device });
    return {
      sound: await inTurn(halves, (half, index) => calibrated(`calibration, half ${index + 1}`, moments, half)),
      paper: await calibrated("calibration on training pictures", moments, train),
      pooledSound: await inTurn(halves, (half, index) => calibrated(`pooled, half ${index + 1}`, [pooledExits], half)),
      pooledDepth: await solveExits(model, pooled, { metric: METRIC, device }),
    };
  });

  const test = (title: string, fitted: FittedExits, pictures: Pictures) =>
    recordScores(model, fitted, counted(progress, `${name}: ${title}`, pictures), { device });
  const records = await run.step(key("shared-covariance-test"), async () => {
    const bothWays = async (title: string, [first, second]: readonly FittedExits[]): Promise<readonly ExitRecord[]> => [
      exitRecord(first!, await test(`${title}, half 2`, first!, halves[1])),
      exitRecord(second!, await test(`${title}, half 1`, second!, halves[0])),
    ];
    return {
      sound: await bothWays("test", fits.sound),
      int8: await bothWays("test, int8", fits.sound.map(quantisedExits)),
      pooledSound: await bothWays("test, pooled", fits.pooledSound),
      paper: exitRecord(fits.paper, await test("test, paper's protocol", fits.paper, data.test)),
      depth: exitRecord(fits.pooledDepth, await test("test, by depth", fits.pooledDepth, data.test)),
    };
  });

  const sound: readonly SoundFit[] = fits.sound.map((fitted, index) => ({ fitted, report: records.sound[index]! }));
  const label = (variant: string) => ({ backbone: name, metric: METRIC, rule: "posterior", variant });
  const asFolds = (fitted: readonly FittedExits[], reports: readonly ExitRecord[]): readonly Fold[] =>
    fitted.map(({ operatingPoints, calibration, costs }, index) => ({
      points: operatingPoints,
      calibrationAccuracy: calibration!.fullAccuracy,
      report: reports[index]!,
      costs,
    }));
  const rows: readonly FrontierRow[] = [
    ...paperRows(label("moments"), fits.paper.operatingPoints, records.paper, fits.paper.costs),
    ...soundRows(label("moments"), asFolds(fits.sound, records.sound)),
    ...soundRows(label("moments int8"), asFolds(fits.sound, records.int8)),
    ...soundRows(label("pooled4x4"), asFolds(fits.pooledSound, records.pooledSound)),
  ];
  return { sound, paper: fits.paper, rows, ...depthTables(subject, fits.pooledDepth, records.depth, sound) };
}

/** Accuracy and confusion by depth: pooled features at every tap, moments at the three exits of the default. */
function depthTables(subject: Subject, pooled: FittedExits, record: ExitRecord, sound: readonly SoundFit[]) {
  const backbone = subject.backbone.name;
  const place = (tap: string) => ({ backbone, metric: METRIC, exit: tap, depth: depthOf(subject, tap) });
  const perPooled = pooled.exits.map(({ tap }, index) => ({
    ...place(tap),
    variant: "pooled4x4",
    macsFraction: pooled.costs.exits[index]! / pooled.costs.full,
    accuracy: accuracyAt(record, index),
  }));
  const { fitted } = sound[0]!;
  const perMoments = fitted.exits.map(({ tap }, index) => ({
    ...place(tap),
    variant: "moments",
    macsFraction: fitted.costs.exits[index]! / fitted.costs.full,
    accuracy: sound.reduce((sum, { report }) => sum + accuracyAt(report, index) / sound.length, 0),
  }));
  const confusion = fitted.exits.map(({ tap }, index) => {
    const [first, second] = sound.map(({ report }) => confusionMatrix(report.predictions[index]!, report.labels));
    return {
      ...place(tap),
      matrix: first!.map((row, label) => row.map((count, answer) => count + second![label]![answer]!)),
    };
  });
  return { perExit: [...perPooled, ...perMoments], confusion };
}
