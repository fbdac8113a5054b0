import { exitNovelty, exitRecord, type FittedExits, type ScoreRecord } from "@exitkit/e2cm";
import { auroc, type ExitRecord } from "@exitkit/early-exit";
import { spread } from "../../measuring/spread.ts";
import type { AurocRow } from "./schema.ts";
import { FULL } from "./subject.ts";

/** AUROC of both scores at every exit, from records of known and of unknown pictures. */
export function aurocRows(
  label: Pick<AurocRow, "backbone" | "unknown" | "metric">,
  fitted: FittedExits,
  known: ScoreRecord,
  unknown: ScoreRecord,
): readonly AurocRow[] {
  const names = [...fitted.exits.map(({ tap }) => tap), FULL];
  const novelty = [known, unknown].map((scores) => exitNovelty(fitted, scores));
  const unsure = [known, unknown].map((scores) =>
    exitRecord(fitted, scores, { rejection: null }).confidences.map((row) => row.map((confidence) => -confidence)),
  );
  return names.flatMap((exit, index) => {
    const place = { ...label, exit, macsFraction: fitted.costs.exits[index]! / fitted.costs.full };
    return [
      { ...place, score: "novelty", auroc: auroc(novelty[0]![index]!, novelty[1]![index]!) },
      { ...place, score: "maxProbability", auroc: auroc(unsure[0]![index]!, unsure[1]![index]!) },
    ];
  });
}

/** The same rows of several repetitions as one: means, and standard deviations (n − 1). */
export function averaged(repetitions: readonly (readonly AurocRow[])[]): readonly AurocRow[] {
  return repetitions[0]!.map((row, index) => {
    const { mean, deviation } = spread(repetitions.map((rows) => rows[index]!.auroc));
    return { ...row, auroc: mean, ...(deviation === undefined ? {} : { deviation }) };
  });
}

/** Fraction of a record's rows whose answer at an exit is their label. */
export function accuracyOf(
  { predictions, labels }: ExitRecord,
  exit: number,
  among: (label: number) => boolean,
): number {
  let [right, all] = [0, 0];
  labels.forEach((label, i) => {
    if (!among(label)) return;
    all += 1;
    if (predictions[exit]![i] === label) right += 1;
  });
  return right / all;
}
