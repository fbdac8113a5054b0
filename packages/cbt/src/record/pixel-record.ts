import { InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkStream } from "../frames/labelled-frames.ts";
import { IGNORE } from "../frames/labels.ts";
import { type Coordinates, coordinatesOption, resized } from "../frames/resize-logits.ts";
import type { Confusion } from "../quality/confusion.ts";
import { checkBatch, type ExitLogits } from "../thresholds/class-probabilities.ts";

/** What every exit says about labelled pixels when nothing is left out; thresholds are replayed and chosen on it. */
export interface PixelRecord {
  /** k. */
  readonly classes: number;
  /** n pixels. */
  readonly n: number;
  /** [n] index of the frame each pixel is of. */
  readonly frames: Int32Array;
  /** [n]. */
  readonly labels: Uint8Array;
  /** [e] of [n]: the class an exit answers at the pixel, its logits resized. */
  readonly answers: readonly Uint8Array[];
  /** [e − 1] of [n]: the class of the largest probability at the pixel's place on the exit's own grid. */
  readonly predicted: readonly Uint8Array[];
  /** [e − 1] of [n]: that probability. */
  readonly confidences: readonly Float32Array[];
}

/** Options of {@link recordPixels}. */
export interface RecordPixelsOptions {
  /** k ≥ 2. */
  readonly classes: number;
  /** Label of pixels that are not recorded. Default 255. */
  readonly ignore?: number;
  /** Every so many rows and columns of the labels one pixel is recorded. Default 4. */
  readonly every?: number;
  /** Where the pixels of the labels lie on the grid of the logits. Default `halfPixel`. */
  readonly coordinates?: Coordinates;
}

const schema = z.strictObject({
  classes: z.int().min(2).max(256),
  ignore: z.int().default(IGNORE),
  every: z.int().min(1).default(4),
  coordinates: coordinatesOption,
});

/**
 * Records labelled pixels of frames, 6e bytes each: every `every`-th row and column. What later exits would say of pixels whose
 * neighbours were left out is not in it, so thresholds that are chosen here are to be reported by running them.
 *
 * @throws InputError on no frames, batches that do not fit, label ids that are neither a class nor `ignore`, or unknown options.
 */
export async function recordPixels(
  frames: AsyncIterable<ExitLogits> | Iterable<ExitLogits>,
  options: RecordPixelsOptions,
): Promise<PixelRecord> {
  const caller = "cbt.recordPixels";
  const { classes, ignore, every, coordinates } = parseOptions(caller, schema, options);
  checkStream(caller, frames);
  const parts: PixelRecord[] = [];
  let seen = 0;
  for await (const batch of frames) {
    checkBatch(caller, batch, classes, ignore, parts[0]?.answers.length);
    parts.push(recordBatch(batch, seen, classes, ignore, every, coordinates));
    seen += batch.labels.shape[0]!;
  }
  if (parts.length === 0)
    throw new InputError(caller, "at least one batch of frames", "none", "Is the stream used up?");
  const n = parts.reduce((sum, part) => sum + part.n, 0);
  const joined = <T extends Uint8Array | Int32Array | Float32Array>(made: T, of: (part: PixelRecord) => T): T => {
    let at = 0;
    for (const part of parts) {
      made.set(of(part), at);
      at += part.n;
    }
    return made;
  };
  const { answers, predicted } = parts[0]!;
  return {
    classes,
    n,
    frames: joined(new Int32Array(n), (part) => part.frames),
    labels: joined(new Uint8Array(n), (part) => part.labels),
    answers: answers.map((_, exit) => joined(new Uint8Array(n), (part) => part.answers[exit]!)),
    predicted: predicted.map((_, exit) => joined(new Uint8Array(n), (part) => part.predicted[exit]!)),
    confidences: predicted.map((_, exit) => joined(new Float32Array(n), (part) => part.confidences[exit]!)),
  };
}

function recordBatch(
  { logits, labels }: ExitLogits,
  first: number,
  k: number,
  ignore: number,
  every: number,
  coordinates: Coordinates,
): PixelRecord {
  const [frames, height, width] = labels.shape as [number, number, number];
  const places: [frame: number, row: number, column: number][] = [];
  const half = Math.floor(every / 2);
  for (let frame = 0; frame < frames; frame++) {
    for (let y = Math.min(half, height - 1); y < height; y += every) {
      for (let x = Math.min(half, width - 1); x < width; x += every) {
        if (labels.data[(frame * height + y) * width + x] !== ignore) places.push([frame, y, x]);
      }
    }
  }
  const n = places.length;
  const answers = logits.map((own) => {
    const big = resized(own, [height, width], coordinates);
    const size = height * width;
    return Uint8Array.from(places, ([frame, y, x]) => argMax(big.data, frame * k * size + y * width + x, size, k));
  });
  const early = logits.slice(0, -1).map((own) => {
    const [, , h, w] = own.shape as [number, number, number, number];
    const predicted = new Uint8Array(n);
    const confidences = new Float32Array(n);
    places.forEach(([frame, y, x], i) => {
      const cell = Math.floor((y * h) / height) * w + Math.floor((x * w) / width);
      const at = frame * k * h * w + cell;
      const best = argMax(own.data, at, h * w, k);
      let total = 0;
      for (let c = 0; c < k; c++) total += Math.exp(own.data[at + c * h * w]! - own.data[at + best * h * w]!);
      predicted[i] = best;
      confidences[i] = 1 / total;
    });
    return { predicted, confidences };
  });
  return {
    classes: k,
    n,
    frames: Int32Array.from(places, ([frame]) => first + frame),
    labels: Uint8Array.from(places, ([frame, y, x]) => labels.data[(frame * height + y) * width + x]!),
    answers,
    predicted: early.map(({ predicted }) => predicted),
    confidences: early.map(({ confidences }) => confidences),
  };
}

function argMax(data: Float32Array, at: number, step: number, k: number): number {
  let best = 0;
  for (let c = 1; c < k; c++) if (data[at + c * step]! > data[at + best * step]!) best = c;
  return best;
}

/** Thresholds on a record: what is answered, and how many pixels stop where. */
export interface PixelReplay {
  readonly confusion: Confusion;
  /** [e] shares of the pixels that stop at each exit. */
  readonly shares: readonly number[];
}

/**
 * Replays thresholds: a pixel stops at the first exit where the probability of its predicted class exceeds that class' threshold
 * there (for thresholds from ½ on the paper's rule), at the full network otherwise.
 *
 * @param thresholds [e − 1][k], compared as float32.
 * @throws InputError on thresholds of other exits or classes.
 */
export function replayPixels(record: PixelRecord, thresholds: readonly (readonly number[])[]): PixelReplay {
  const caller = "cbt.replayPixels";
  const held = checkedThresholds(caller, record, thresholds);
  const { classes, n, labels, answers, predicted, confidences } = record;
  const e = answers.length;
  const counts = new Array<number>(classes * classes).fill(0);
  const stopped = new Array<number>(e).fill(0);
  for (let i = 0; i < n; i++) {
    let j = 0;
    while (j < e - 1 && !(confidences[j]![i]! > held[j]![predicted[j]![i]!]!)) j++;
    stopped[j]!++;
    counts[labels[i]! * classes + answers[j]![i]!]!++;
  }
  return { confusion: { classes, counts }, shares: stopped.map((count) => count / n) };
}

/** [e − 1] of [k] thresholds as float32. */
function checkedThresholds(
  caller: string,
  record: PixelRecord,
  thresholds: readonly (readonly number[])[],
): Float32Array[] {
  const { classes, answers } = (record ?? {}) as Partial<PixelRecord>;
  if (!Array.isArray(answers)) throw new InputError(caller, "record must be what recordPixels gives", typeof record);
  const exits = answers.length - 1;
  const fits = (own: unknown) =>
    Array.isArray(own) &&
    own.length === classes &&
    own.every((value) => typeof value === "number" && !Number.isNaN(value));
  if (Array.isArray(thresholds) && thresholds.length === exits && thresholds.every(fits)) {
    return thresholds.map((own) => Float32Array.from(own));
  }
  const actual = JSON.stringify(thresholds)?.slice(0, 60) ?? typeof thresholds;
  throw new InputError(caller, `thresholds must be [${exits}][${classes}] numbers`, actual);
}
