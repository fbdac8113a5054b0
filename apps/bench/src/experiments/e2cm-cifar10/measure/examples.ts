import { cheapestWithin, replay } from "@exitkit/early-exit";
import { pictureDataUri } from "../../../data/batches.ts";
import { folds } from "../../../measuring/halves.ts";
import type { Subject } from "./network.ts";
import type { SoundFit } from "./shared.ts";
import { TIMED_LOSS } from "./wall.ts";

const SHOWN = 16;

/** Pictures that left first and were surest, and pictures that went through the whole network and were least sure. */
export function examplePictures({ data }: Subject, { fitted, report }: SoundFit) {
  const reported = folds(data)[1];
  const point = cheapestWithin(fitted.operatingPoints, fitted.calibration!.fullAccuracy - TIMED_LOSS)!;
  const { leftAt, predictions } = replay(report, point.thresholds, fitted.costs);
  const confidence = (row: number) => report.confidences[leftAt[row]!]![row]!;
  const rows = Array.from({ length: report.n }, (_, row) => row);
  const shown = (row: number) => ({
    png: pictureDataUri(reported, row),
    label: reported.labels[row]!,
    predicted: predictions[row]!,
    exit: report.exits[leftAt[row]!]!,
    confidence: confidence(row),
  });
  const first = rows.sort((a, b) => leftAt[a]! - leftAt[b]! || confidence(b) - confidence(a)).slice(0, SHOWN);
  const last = rows.sort((a, b) => leftAt[b]! - leftAt[a]! || confidence(a) - confidence(b)).slice(0, SHOWN);
  return { first: first.map(shown), last: last.map(shown) };
}
