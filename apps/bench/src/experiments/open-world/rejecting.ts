import {
  calibrateExits,
  exitRecord,
  type FittedExits,
  type Metric,
  recordScores,
  type ScoreRecord,
  solveExits,
} from "@exitkit/e2cm";
import { cheapestWithin, REJECTED, type Replay, replay } from "@exitkit/early-exit";
import { meanOf } from "../../measuring/answers.ts";
import { counted } from "../../measuring/counted.ts";
import { folds } from "../../measuring/halves.ts";
import { accuracyOf, aurocRows, averaged } from "./measures.ts";
import type { AurocRow, RejectionRow } from "./schema.ts";
import { FULL, METRICS, OUTPUTS, type Subject, sumUp } from "./subject.ts";
import type { Unknowns } from "./unknowns.ts";

/** Of known calibration pictures, the share that no exit may turn away. */
export const QUANTILE = 0.95;
/** Accuracy that thresholds may lose against the plain network, without rejection, on the pictures that choose them. */
export const WANTED_LOSS = 0.02;
const SHRINKAGES = ["analytic", 0.1, 0.3] as const;
/** The first chooses the thresholds of all. */
const WAYS = [
  { at: "none", by: null },
  { at: "leaving", by: "distance" },
  { at: "everyExit", by: "distance" },
  { at: "leaving", by: "probability" },
] as const;

/** Unknown pictures of another data set against the known classes: AUROC by exit, and what rejecting them does. */
export async function rejecting(
  subject: Subject,
  unknowns: readonly Unknowns[],
): Promise<{ readonly auroc: readonly AurocRow[]; readonly rejection: readonly RejectionRow[] }> {
  const [auroc, rejection]: [AurocRow[], RejectionRow[]] = [[], []];
  for (const metric of METRICS) {
    const key = `${subject.backbone.name}-${metric}-unknown`;
    const part = await subject.context.run.step(key, () => withMetric(subject, metric, unknowns));
    auroc.push(...part.auroc);
    rejection.push(...part.rejection);
  }
  return { auroc, rejection };
}

async function withMetric(subject: Subject, metric: Metric, unknowns: readonly Unknowns[]) {
  const { context, backbone, device, data } = subject;
  const { name, model } = backbone;
  const { progress } = context;
  const statistics = await sumUp(subject, `class means, ${metric}`, data.train, OUTPUTS, metric);
  const candidates: FittedExits[] = [];
  for (const shrinkage of metric === "euclidean" ? SHRINKAGES.slice(0, 1) : SHRINKAGES) {
    candidates.push(await solveExits(model, statistics, { metric, shrinkage, device }));
  }
  const halves = folds(data);
  const [aurocs, replays]: [(readonly AurocRow[])[], Fates[][]] = [[], WAYS.map(() => [])];
  for (const [fold, calibration] of halves.entries()) {
    const fitted: FittedExits[] = [];
    for (const { at, by } of WAYS) {
      const title = `${name}: calibration on half ${fold + 1}, ${metric}, rejection ${at}`;
      const options = { calibration: counted(progress, title, calibration), device };
      const reject = by === null ? {} : { reject: { quantile: QUANTILE, at, by } };
      fitted.push(await calibrateExits(model, candidates, { ...options, ...reject }));
    }
    const scored = (title: string, pictures: typeof calibration) =>
      recordScores(model, fitted[0]!, counted(progress, `${name}: ${title}, ${metric}`, pictures), { device });
    const known = await scored(`test half ${2 - fold}`, halves[1 - fold]!);
    const unknown: { readonly kind: string; readonly scores: ScoreRecord }[] = [];
    for (const { kind, pictures } of unknowns)
      unknown.push({ kind, scores: await scored(`unknown, ${kind}`, pictures) });
    aurocs.push(
      unknown.flatMap(({ kind, scores }) =>
        aurocRows({ backbone: name, unknown: `CIFAR-100, ${kind}`, metric }, fitted[0]!, known, scores),
      ),
    );
    // The limits of rejection hold for any thresholds: all ways have those chosen without rejection.
    const { operatingPoints, calibration: chosenOn } = fitted[0]!;
    const { thresholds } = cheapestWithin(operatingPoints, chosenOn!.fullAccuracy - WANTED_LOSS)!;
    WAYS.forEach((_, way) => {
      const own = fitted[way]!;
      const fate = (scores: typeof known) => replay(exitRecord(own, scores), thresholds, own.costs);
      const record = exitRecord(own, known);
      const { predictions, costFraction, shares } = fate(known);
      const decided = { ...record, predictions: [predictions] };
      const answered = predictions.filter((answer) => answer !== REJECTED).length / record.n;
      const accuracy = accuracyOf(decided, 0, () => true);
      replays[way]!.push({
        accuracy,
        answeredAccuracy: accuracy / answered,
        falseRejections: 1 - answered,
        macsFraction: costFraction,
        leaving: shares.map((share, exit) => ({ exit: own.exits[exit]?.tap ?? FULL, share })),
        unknown: unknown.map(({ kind, scores }) => ({ kind, ...rejectedOf(fate(scores)) })),
      });
    });
  }
  const rejection = WAYS.map(({ at, by }, way) => {
    return { backbone: name, metric, at, by, quantile: QUANTILE, ...mean(replays[way]!) };
  });
  // The deviation over two halves would say nothing.
  const auroc = averaged(aurocs).map(({ deviation: _, ...row }) => row);
  return { auroc, rejection };
}

type Fates = Omit<RejectionRow, "backbone" | "metric" | "at" | "by" | "quantile">;

function rejectedOf({ predictions, costFraction }: Replay) {
  const rejected = predictions.filter((answer) => answer === REJECTED).length / predictions.length;
  return { rejected, macsFraction: costFraction };
}

function mean(fates: readonly Fates[]): Fates {
  const of = (value: (fate: Fates) => number) => meanOf(fates.map(value));
  return {
    accuracy: of((fate) => fate.accuracy),
    answeredAccuracy: of((fate) => fate.answeredAccuracy),
    falseRejections: of((fate) => fate.falseRejections),
    macsFraction: of((fate) => fate.macsFraction),
    leaving: fates[0]!.leaving.map(({ exit }, index) => ({ exit, share: of((fate) => fate.leaving[index]!.share) })),
    unknown: fates[0]!.unknown.map(({ kind }, index) => ({
      kind,
      rejected: of((fate) => fate.unknown[index]!.rejected),
      macsFraction: of((fate) => fate.unknown[index]!.macsFraction),
    })),
  };
}
