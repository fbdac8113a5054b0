import { generator } from "@exitkit/core-gpu";
import { type FittedExits, openClassifier } from "@exitkit/e2cm";
import { type ExitRecord, replay, selectRows } from "@exitkit/early-exit";
import { oneBatch, pictureDataUri } from "../../../data/batches.ts";
import { slicePictures } from "../../../data/pictures.ts";
import { folds, halfRows } from "../../../measuring/halves.ts";
import { chooseOn, merged, thresholdsFor } from "../../../measuring/halvings.ts";
import { timeInStages } from "../../../measuring/wall.ts";
import type { WallRow } from "../schema.ts";
import { type Method, recordsOf } from "./methods.ts";
import { CLASSES, type Subject } from "./subject.ts";

/** The batch size that the headline is of; all pictures of the half are timed in it. */
const HEADLINE_BATCH = 64;
const BATCHES = [1, 16, HEADLINE_BATCH, 256];

/** Exits and guarded thresholds that the first half of the test pictures chose, and what the exits said of the second half. */
interface Setting {
  readonly fitted: FittedExits;
  readonly thresholds: readonly number[];
  readonly report: ExitRecord;
}

/** The setting that is timed: guarded for the preset's loss. */
export function timedSetting({ context, settings }: Subject, method: Method): Setting {
  const [{ fitted }] = method.fits as [Method["fits"][number]];
  const records = recordsOf(method, "test");
  const [first, second] = halfRows(records[0]!.n);
  const chosen = chooseOn(records, fitted.costs, first, generator(context.seed));
  const exits = chosen.candidates.map((candidate, exit) => method.fits[candidate]!.fitted.exits[exit]!);
  return {
    fitted: { ...fitted, exits },
    thresholds: thresholdsFor(chosen, "guarded", settings.timedLoss),
    report: selectRows(merged(records, chosen.candidates), second),
  };
}

/** Times the early-exit network against the plain one on real pictures that chose nothing, in batches of several sizes. */
export async function wallRows(subject: Subject, method: Method, setting: Setting): Promise<readonly WallRow[]> {
  const { context, backbone, device, data, settings, key } = subject;
  const { name, model } = backbone;
  const { rounds, timedPictures, timedLoss } = settings;
  const { fitted, thresholds } = setting;
  const reported = folds(data)[1];
  const staged = { open: () => openClassifier(model, fitted, { thresholds, device }), costs: fitted.costs };
  const stage = context.progress.stage(`${name}: wall clock`, BATCHES.length * rounds, "rounds");
  const rows: WallRow[] = [];
  for (const batch of BATCHES) {
    const row = await context.run.step(key(`wall-batch${batch}`), async () => {
      const most = batch === HEADLINE_BATCH ? reported.n : Math.min(timedPictures, (batch * timedPictures) / 16);
      const pieces = Array.from({ length: Math.max(1, Math.floor(Math.min(most, reported.n) / batch)) }, (_, index) =>
        oneBatch(slicePictures(reported, index * batch, (index + 1) * batch)),
      );
      const options = { classes: CLASSES, rounds, onRound: () => stage.advance(1) };
      const [times] = await timeInStages(device, backbone, [staged], pieces, options);
      const measured = { backbone: name, metric: method.metric, ...times!, wantedLoss: timedLoss };
      await context.run.metric({ ...measured });
      return measured;
    });
    rows.push(row);
  }
  stage.done();
  return rows;
}

const SHOWN = 16;

/** Pictures that left first and were surest, and pictures that went through the whole network and were least sure. */
export function examplePictures({ data }: Subject, { fitted, thresholds, report }: Setting) {
  const reported = folds(data)[1];
  const { leftAt, predictions } = replay(report, thresholds, fitted.costs);
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
