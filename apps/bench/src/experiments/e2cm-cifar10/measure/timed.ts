import { generator } from "@exitkit/core-gpu";
import { type FittedExits, openClassifier } from "@exitkit/e2cm";
import { type ExitRecord, replay } from "@exitkit/early-exit";
import { oneBatch, pictureDataUri } from "../../../data/batches.ts";
import { type Pictures, selectPictures, slicePictures } from "../../../data/pictures.ts";
import { typicalHalving } from "../../../measuring/halvings.ts";
import { timeInStages } from "../../../measuring/wall.ts";
import type { WallRow } from "../schema.ts";
import { type Method, recordsOf, rulesOf } from "./methods.ts";
import { CLASSES, type Subject } from "./subject.ts";

/** The batch size that the headline is of; all pictures of the half are timed in it. */
const HEADLINE_BATCH = 64;
const BATCHES = [1, 16, HEADLINE_BATCH, 256];

/** Exits and guarded thresholds that one half of the test pictures chose; the other half, and what the exits said of it. */
interface Setting {
  readonly fitted: FittedExits;
  readonly thresholds: readonly number[];
  readonly pictures: Pictures;
  readonly report: ExitRecord;
}

/** The setting that is timed: guarded for the preset's loss, in the random halving whose cost is the median of them all. */
export function timedSetting({ context, data, settings }: Subject, method: Method): Setting {
  const [{ fitted }] = method.fits as [Method["fits"][number]];
  const records = recordsOf(method, "test", rulesOf(method)[0]);
  const random = generator(context.seed);
  const typical = typicalHalving(records, fitted.costs, settings.timedLoss, settings.halvings, random);
  const exits = typical.chosen.candidates.map((candidate, exit) => method.fits[candidate]!.fitted.exits[exit]!);
  return {
    fitted: { ...fitted, exits },
    thresholds: typical.thresholds,
    pictures: selectPictures(data.test, typical.rows),
    report: typical.report,
  };
}

/** Times the early-exit network against the plain one on real pictures that chose nothing, in batches of several sizes. */
export async function wallRows(subject: Subject, method: Method, setting: Setting): Promise<readonly WallRow[]> {
  const { context, backbone, device, settings, key } = subject;
  const { name, model } = backbone;
  const { rounds, timedPictures, timedLoss } = settings;
  const { fitted, thresholds, pictures: reported } = setting;
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
export function examplePictures({ fitted, thresholds, pictures, report }: Setting) {
  const { leftAt, predictions } = replay(report, thresholds, fitted.costs);
  const confidence = (row: number) => report.confidences[leftAt[row]!]![row]!;
  const rows = Array.from({ length: report.n }, (_, row) => row);
  const shown = (row: number) => ({
    png: pictureDataUri(pictures, row),
    label: pictures.labels[row]!,
    predicted: predictions[row]!,
    exit: report.exits[leftAt[row]!]!,
    confidence: confidence(row),
  });
  const first = rows.sort((a, b) => leftAt[a]! - leftAt[b]! || confidence(b) - confidence(a)).slice(0, SHOWN);
  const last = rows.sort((a, b) => leftAt[b]! - leftAt[a]! || confidence(a) - confidence(b)).slice(0, SHOWN);
  return { first: first.map(shown), last: last.map(shown) };
}
