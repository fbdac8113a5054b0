import { tensor } from "@exitkit/core-gpu";
import { openClassifier } from "@exitkit/e2cm";
import { cheapestWithin } from "@exitkit/early-exit";
import { type Batch, oneBatch } from "../../data/batches.ts";
import { slicePictures } from "../../data/pictures.ts";
import { argMaxRows, countRight } from "../../measuring/answers.ts";
import { folds } from "../../measuring/halves.ts";
import { quantile } from "../../measuring/timing.ts";
import { CLASSES, type Subject } from "./network.ts";
import type { SoundFit } from "./shared.ts";

const BATCHES = [1, 16, 64, 256];

/**
 * The loss asked for on calibration pictures in the timings and the example pictures. What is lost on new pictures is more than
 * what was asked for: 0.3 points asked are about half a point lost.
 */
export const TIMED_LOSS = 0.003;

/** Wall clock of one batch size, medians over rounds. */
export interface WallRow {
  readonly backbone: string;
  readonly metric: string;
  readonly batch: number;
  /** How many were timed, the first of the second half. */
  readonly pictures: number;
  /** Mean MACs of the timed pictures as a fraction of the plain network. */
  readonly macsFraction: number;
  /** Median over rounds of (time in stages ÷ time in one plain session), both over the same batches. */
  readonly wallFraction: number;
  /** Of the timed pictures, and the plain network's on the same ones. */
  readonly accuracy: number;
  readonly fullAccuracy: number;
  readonly wantedLoss: number;
  readonly plainMs: number;
  readonly stagedMs: number;
  readonly runs: number;
}

/**
 * Times the early-exit network against the plain one on real pictures it was not calibrated on: the pictures in batches, each
 * batch through both, one after the other, the order changing from batch to batch.
 */
export async function wallPart(subject: Subject, { fitted }: SoundFit): Promise<readonly WallRow[]> {
  const { context, backbone, device, data, settings, key } = subject;
  const { name, model, input, output } = backbone;
  const reported = folds(data)[1];
  const point = cheapestWithin(fitted.operatingPoints, fitted.calibration!.fullAccuracy - TIMED_LOSS)!;
  const stage = context.progress.stage(`${name}: wall clock`, BATCHES.length * settings.rounds, "rounds");
  const rows: WallRow[] = [];
  for (const batch of BATCHES) {
    const row = await context.run.step(key(`wall-batch${batch}`), async () => {
      const count = Math.max(
        1,
        Math.floor(Math.min(settings.timedPictures, (batch * settings.timedPictures) / 16, reported.n) / batch),
      );
      const pieces = Array.from({ length: count }, (_, index) =>
        oneBatch(slicePictures(reported, index * batch, (index + 1) * batch)),
      );
      const plain = await device.load(model);
      const classifier = await openClassifier(model, fitted, { thresholds: point.thresholds, device });
      const into = { [output]: tensor("float32", [batch, 10]) };
      const runPlain = async (piece: Batch) =>
        argMaxRows((await plain.run({ [input]: piece.x }, { into }))[output]!.data as Float32Array, CLASSES);
      const times: { plain: number; staged: number }[] = [];
      let right = 0;
      let fullRight = 0;
      let macs = 0;
      try {
        for (let round = -1; round < settings.rounds; round++) {
          const time = { plain: 0, staged: 0 };
          for (const [index, piece] of pieces.entries()) {
            const timePlain = async () => {
              const begun = performance.now();
              const answers = await runPlain(piece);
              time.plain += performance.now() - begun;
              if (round < 0) fullRight += countRight(answers, piece.y);
            };
            const timeStaged = async () => {
              const begun = performance.now();
              const { predictions, leftAt } = await classifier.classify(piece.x);
              time.staged += performance.now() - begun;
              if (round >= 0) return;
              right += countRight(predictions, piece.y);
              for (const exit of leftAt) macs += fitted.costs.exits[exit]!;
            };
            const order = (index + round) % 2 === 0 ? [timePlain, timeStaged] : [timeStaged, timePlain];
            for (const one of order) await one();
          }
          if (round >= 0) {
            times.push(time);
            stage.advance(1);
          }
        }
      } finally {
        await classifier.release();
        await plain.release();
      }
      const pictures = count * batch;
      const measured: WallRow = {
        backbone: name,
        metric: "sharedCovariance",
        batch,
        pictures,
        macsFraction: macs / pictures / fitted.costs.full,
        wallFraction: quantile(
          times.map(({ plain: a, staged: b }) => b / a),
          0.5,
        ),
        accuracy: right / pictures,
        fullAccuracy: fullRight / pictures,
        wantedLoss: TIMED_LOSS,
        plainMs: quantile(
          times.map((time) => time.plain / count),
          0.5,
        ),
        stagedMs: quantile(
          times.map((time) => time.staged / count),
          0.5,
        ),
        runs: times.length,
      };
      await context.run.metric({ ...measured });
      return measured;
    });
    rows.push(row);
  }
  stage.done();
  return rows;
}
