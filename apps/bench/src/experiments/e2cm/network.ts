import type { Device } from "@exitkit/core-gpu";
import { type ExitRecord, selectRows } from "@exitkit/early-exit";
import { batches } from "../../data/batches.ts";
import type { Dataset } from "../../data/directory.ts";
import type { Normalisation } from "../../data/normalisation.ts";
import { type Pictures, slicePictures } from "../../data/pictures.ts";
import type { Progress } from "../../terminal/progress.ts";
import type { pretrained } from "../../zoo/resnet.ts";
import type { Context } from "../experiment.ts";

/** What the parts of the experiment share about one backbone. */
export interface Subject {
  readonly context: Context;
  readonly device: Device;
  readonly backbone: Awaited<ReturnType<typeof pretrained>>;
  readonly data: Dataset;
  readonly settings: Settings;
  /** Key of a step of this backbone. */
  readonly key: (step: string) => string;
}

/** What a preset decides. */
export interface Settings {
  /** Training pictures that thresholds are chosen on in the paper's protocol. */
  readonly thresholdPictures: number;
  /** Every how many blocks an exit of the depth tables stands. */
  readonly everyBlock: number;
  /** Random threshold vectors of the paper's search. */
  readonly draws: number;
  /** Rounds of every timing. */
  readonly rounds: number;
  /** Pictures timed a round, at most. */
  readonly timedPictures: number;
}

export const PASS_BATCH = 128;
export const CLASSES = 10;

/** Accuracy losses that are asked for on calibration pictures; 0.005 is half a point. */
export const WANTED_LOSSES = [
  0, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3,
];

/** Pictures in batches, each batch counted on a progress stage. */
export function counted(
  progress: Progress,
  title: string,
  pictures: Pictures,
  size = PASS_BATCH,
  normalisation?: Normalisation,
) {
  const stage = progress.stage(title, pictures.n, "pictures");
  const stream = batches(pictures, size, normalisation);
  return (async function* () {
    try {
      for await (const batch of stream) {
        yield batch;
        stage.advance(batch.y.length);
      }
    } finally {
      stage.done();
    }
  })();
}

/** The two halves of the test pictures; thresholds from one are reported on the other, both ways. */
export function folds({ test }: Dataset): readonly [Pictures, Pictures] {
  const half = Math.floor(test.n / 2);
  return [slicePictures(test, 0, half), slicePictures(test, half, 2 * half)];
}

/** The same halves of a record of all test pictures. */
export function foldRecords(record: ExitRecord): readonly [ExitRecord, ExitRecord] {
  const half = Math.floor(record.n / 2);
  const range = (from: number) => Int32Array.from({ length: half }, (_, index) => from + index);
  return [selectRows(record, range(0)), selectRows(record, range(half))];
}

/** Blocks whose outputs the depth tables read: every n-th, the last included; the stem too where every block is read. */
export function depthTaps({ backbone, settings }: Subject): readonly string[] {
  const { everyBlock } = settings;
  if (everyBlock === 1) return backbone.blocks;
  return backbone.blocks.filter((_, block) => block > 0 && block % everyBlock === 0);
}

/** Place of a tap among the blocks: 0 the stem, 1 the first block, … */
export function depthOf({ backbone }: Subject, tap: string): number {
  return backbone.blocks.indexOf(tap);
}

/** Fraction of a record's samples that exit j answers rightly. */
export function accuracyAt(record: ExitRecord, exit: number): number {
  return countRight(record.predictions[exit]!, record.labels) / record.n;
}

export function countRight(answers: Int32Array, labels: Int32Array): number {
  return answers.reduce((sum, answer, i) => sum + (answer === labels[i] ? 1 : 0), 0);
}

/** `matrix[true][predicted]`: how many samples. */
export function confusionMatrix(answers: Int32Array, labels: Int32Array): number[][] {
  const matrix = Array.from({ length: CLASSES }, () => new Array<number>(CLASSES).fill(0));
  answers.forEach((answer, i) => {
    matrix[labels[i]!]![answer]! += 1;
  });
  return matrix;
}

/** The class each row of scores [n, k] answers. */
export function argMaxRows(scores: Float32Array, k: number): Int32Array {
  return Int32Array.from({ length: scores.length / k }, (_, row) => {
    const own = scores.subarray(row * k, (row + 1) * k);
    return own.indexOf(Math.max(...own));
  });
}
