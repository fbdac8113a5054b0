import { InputError, parseOptions, until } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkStream } from "../frames/labelled-frames.ts";
import { IGNORE } from "../frames/labels.ts";
import { type Coordinates, coordinatesOption, resized } from "../frames/resize-logits.ts";
import type { Confusion } from "../quality/confusion.ts";
import { checkBatch, type ExitLogits } from "../thresholds/class-probabilities.ts";

/**
 * What every exit says about labelled pixels when nothing is left out; thresholds are replayed and chosen on it. Pixels that are alike are
 * one entry.
 */
export interface PixelRecord {
  /** k. */
  readonly classes: number;
  /** n entries. */
  readonly n: number;
  /** [n] pixels of each entry. Default 1 each. */
  readonly counts?: Float64Array;
  /** [n] index of the frame each entry is of, or of the deal of frames. */
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
  /**
   * Levels of probability that are told apart, in equal steps of ln p/(1 − p) from −3 to 12: a probability is recorded as the level above it.
   * Pixels that are then alike become one entry, so that memory does not grow with the number of frames. Default 32; 0 keeps every pixel.
   */
  readonly levels?: number;
  /** Frames are dealt to so many parts, which pixels of one entry share: as folds for `solveClassThresholds`. Default 2. */
  readonly deals?: number;
  /** Where the pixels of the labels lie on the grid of the logits. Default `halfPixel`. */
  readonly coordinates?: Coordinates;
  /** Ends the call between two batches: it rejects with the signal's reason, streams are closed. */
  readonly signal?: AbortSignal;
}

const schema = z.strictObject({
  classes: z.int().min(2).max(256),
  ignore: z.int().default(IGNORE),
  every: z.int().min(1).default(4),
  levels: z.int().min(0).max(250).default(32),
  deals: z.int().min(1).max(1000).default(2),
  coordinates: coordinatesOption,
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * Records labelled pixels of frames: every `every`-th row and column, as counts of pixels that are alike (label, answers, predicted classes,
 * levels of probability, deal of the frame). What later exits would say of pixels whose
 * neighbours were left out is not in it, so thresholds that are chosen here are to be reported by running them.
 *
 * @throws InputError on no frames, batches that do not fit, label ids that are neither a class nor `ignore`, or unknown options.
 */
export async function recordPixels(
  frames: AsyncIterable<ExitLogits> | Iterable<ExitLogits>,
  options: RecordPixelsOptions,
): Promise<PixelRecord> {
  const caller = "cbt.recordPixels";
  const { classes, ignore, every, levels, deals, coordinates, signal } = parseOptions(caller, schema, options);
  checkStream(caller, frames);
  const parts: PixelRecord[] = [];
  let whole: Entries | undefined;
  let seen = 0;
  for await (const batch of until(signal, frames)) {
    checkBatch(caller, batch, classes, ignore, whole?.exits ?? parts[0]?.answers.length);
    const part = recordBatch(batch, seen, classes, ignore, every, coordinates);
    if (levels === 0) parts.push(part);
    else {
      whole ??= { exits: part.answers.length, entries: new Map() };
      addEntries(whole, part, levels, deals);
    }
    seen += batch.labels.shape[0]!;
  }
  if (seen === 0) throw new InputError(caller, "at least one batch of frames", "none", "Is the stream used up?");
  return whole === undefined ? joined(parts) : recordOf(whole, classes, upperEdges(levels));
}

function joined(parts: readonly PixelRecord[]): PixelRecord {
  const n = parts.reduce((sum, part) => sum + part.n, 0);
  const together = <T extends Uint8Array | Int32Array | Float32Array>(made: T, of: (part: PixelRecord) => T): T => {
    let at = 0;
    for (const part of parts) {
      made.set(of(part), at);
      at += part.n;
    }
    return made;
  };
  const { classes, answers, predicted } = parts[0]!;
  return {
    classes,
    n,
    frames: together(new Int32Array(n), (part) => part.frames),
    labels: together(new Uint8Array(n), (part) => part.labels),
    answers: answers.map((_, exit) => together(new Uint8Array(n), (part) => part.answers[exit]!)),
    predicted: predicted.map((_, exit) => together(new Uint8Array(n), (part) => part.predicted[exit]!)),
    confidences: predicted.map((_, exit) => together(new Float32Array(n), (part) => part.confidences[exit]!)),
  };
}

/** Pixels by what is recorded of them: one character each for deal, label, answers, predicted classes and levels. */
interface Entries {
  readonly exits: number;
  readonly entries: Map<string, number>;
}

const LEAST = -3;
const MOST = 12;

/** Upper edge of each level, [levels], the last 1. */
function upperEdges(levels: number): Float32Array {
  const logit = (level: number) => LEAST + ((MOST - LEAST) * (level + 1)) / levels;
  return Float32Array.from({ length: levels }, (_, level) =>
    level === levels - 1 ? 1 : 1 / (1 + Math.exp(-logit(level))),
  );
}

function addEntries({ entries }: Entries, part: PixelRecord, levels: number, deals: number): void {
  const { n, frames, labels, answers, predicted, confidences } = part;
  const edges = upperEdges(levels);
  const key = new Array<number>(2 + answers.length + 2 * predicted.length);
  for (let i = 0; i < n; i++) {
    key[0] = frames[i]! % deals;
    key[1] = labels[i]!;
    let at = 2;
    for (const own of answers) key[at++] = own[i]!;
    predicted.forEach((own, exit) => {
      const p = confidences[exit]![i]!;
      let level = Math.floor(((Math.log(p / (1 - p)) - LEAST) / (MOST - LEAST)) * levels);
      level = Math.min(Math.max(level, 0), levels - 1);
      // Rounding: the edges as they are decide.
      while (level > 0 && p <= edges[level - 1]!) level--;
      while (level < levels - 1 && p > edges[level]!) level++;
      key[at++] = own[i]!;
      key[at++] = level;
    });
    const name = String.fromCharCode(...key);
    entries.set(name, (entries.get(name) ?? 0) + 1);
  }
}

function recordOf({ exits, entries }: Entries, classes: number, edges: Float32Array): PixelRecord {
  const n = entries.size;
  const early = Array.from({ length: exits - 1 }, (_, exit) => exit);
  const names = [...entries.keys()];
  const column = (at: number) => Uint8Array.from(names, (name) => name.charCodeAt(at));
  const levels = early.map((exit) => column(3 + exits + 2 * exit));
  return {
    classes,
    n,
    counts: Float64Array.from(entries.values()),
    frames: Int32Array.from(names, (name) => name.charCodeAt(0)),
    labels: column(1),
    answers: Array.from({ length: exits }, (_, exit) => column(2 + exit)),
    predicted: early.map((exit) => column(2 + exits + 2 * exit)),
    confidences: levels.map((own) => Float32Array.from(own, (level) => edges[level]!)),
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
  const pixels = record.counts ?? new Float64Array(n).fill(1);
  const counts = new Array<number>(classes * classes).fill(0);
  const stopped = new Array<number>(e).fill(0);
  for (let i = 0; i < n; i++) {
    let j = 0;
    while (j < e - 1 && !(confidences[j]![i]! > held[j]![predicted[j]![i]!]!)) j++;
    stopped[j]! += pixels[i]!;
    counts[labels[i]! * classes + answers[j]![i]!]! += pixels[i]!;
  }
  const all = stopped.reduce((sum, count) => sum + count, 0);
  return { confusion: { classes, counts }, shares: stopped.map((count) => count / all) };
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
