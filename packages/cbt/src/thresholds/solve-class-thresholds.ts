import { InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import type { PixelRecord } from "../record/pixel-record.ts";

/** Options of {@link solveClassThresholds}. */
export interface SolveClassThresholdsOptions {
  /** [e] what a pixel costs that stops at each exit, rising, in any unit. */
  readonly costs: readonly number[];
  /** Mean IoU that may be lost against the full network on the record, in [0, 1]; 0.005 is half a point. */
  readonly maxLoss: number;
  /** Thresholds each class may take at an exit: quantiles of the probabilities recorded there. Default 24. */
  readonly bins?: number;
  /** Frames are dealt to so many folds; a threshold moves only where no fold gets worse by it. 1 switches that off. Default 2. */
  readonly folds?: number;
}

/** Thresholds of every class at every exit, and what they give on the record. */
export interface SolvedClassThresholds {
  /** [e − 1][k], float32 values from ½ to 1; 2 where a class is never sure enough at an exit. */
  readonly thresholds: readonly (readonly number[])[];
  /** Mean IoU on the record. */
  readonly miou: number;
  /** Of the full network on the record. */
  readonly fullMiou: number;
  /** Mean cost of a pixel, in the unit of `costs`. */
  readonly meanCost: number;
}

const schema = z.strictObject({
  costs: z.array(z.number().min(0)).min(2).readonly(),
  maxLoss: z.number().min(0).max(1),
  bins: z.int().min(1).max(200).default(24),
  folds: z.int().min(1).max(20).default(2),
});

/** Thresholds that no probability exceeds. */
const NEVER = 2;

/** Sweeps over all classes and exits for one price, at most. */
const SWEEPS = 6;

/**
 * Chooses a threshold for each predicted class at each exit: the least mean cost found whose mean IoU on the record is at most
 * `maxLoss` below the full network's. Mean IoU is no mean over pixels, so costs are given a price μ and mIoU − μ·cost is
 * raised by coordinate descent on pooled confusion counts: one class' threshold at one exit at a time, all of its bins
 * looked at in one pass over the pixels that reach it, the others fixed. μ is found by bisection.
 *
 * To fit the frames less closely, a threshold moves only where it makes no fold of the frames worse.
 *
 * Choose on other frames than those the network was trained on, and report on others still.
 *
 * @throws InputError on a record without pixels or early exits, costs that are not e rising numbers, or unknown options.
 * Source: no paper's; the paper maps one number a class onto a range [D].
 * @example
 * ```ts
 * import { solveClassThresholds, type PixelRecord } from "@exitkit/cbt";
 * // The early exit is right about class 0 and wrong about class 1, equally sure of both.
 * const n = 1000;
 * const of = (value: (i: number) => number) => Uint8Array.from({ length: n }, (_, i) => value(i));
 * const record: PixelRecord = {
 *   classes: 2, n, frames: Int32Array.from({ length: n }, (_, i) => i % 10), labels: of((i) => (i % 4 === 0 ? 1 : i % 3 === 0 ? 0 : 0)),
 *   answers: [of((i) => (i % 8 === 0 ? 1 : i % 4 === 1 ? 1 : 0)), of((i) => (i % 4 === 0 ? 1 : 0))],
 *   predicted: [of((i) => (i % 8 === 0 ? 1 : i % 4 === 1 ? 1 : 0))], confidences: [new Float32Array(n).fill(0.9)],
 * };
 * const { thresholds, miou, fullMiou } = solveClassThresholds(record, { costs: [1, 3], maxLoss: 0 });
 * console.assert(miou >= fullMiou && thresholds[0]![1] === 2);
 * ```
 */
export function solveClassThresholds(record: PixelRecord, options: SolveClassThresholdsOptions): SolvedClassThresholds {
  const caller = "cbt.solveClassThresholds";
  const { costs, maxLoss, bins, folds } = parseOptions(caller, schema, options);
  const { n, answers, classes } = (record ?? {}) as Partial<PixelRecord>;
  if (!Array.isArray(answers) || answers.length < 2 || !(n! > 0)) {
    const actual = Array.isArray(answers) ? `${n} pixels, ${answers.length} exits` : typeof record;
    throw new InputError(caller, "record must hold pixels of an early exit and the full network", actual);
  }
  if (costs.length !== answers.length || costs.some((cost, exit) => exit > 0 && cost < costs[exit - 1]!)) {
    throw new InputError(caller, `costs must be ${answers.length} rising numbers`, `[${costs.join(", ")}]`);
  }
  const grid = binsOf(record, bins);
  const never = answers.slice(1).map(() => new Int32Array(classes!).fill(bins));
  const full = evaluate(record, grid, never, folds);
  const fullMiou = miouOf(full.total, classes!);
  const span = costs.at(-1)! - costs[0]!;
  let best: { readonly chosen: readonly Int32Array[]; readonly miou: number; readonly cost: number } = {
    chosen: never,
    miou: fullMiou,
    cost: meanCost(full.stopped, costs),
  };
  // A price so small that nothing stops, and one at which mIoU does not matter.
  let [low, high] = [Math.log(1e-4 / (span || 1)), Math.log(10 / (span || 1))];
  for (let step = 0; step < 14; step++) {
    const price = Math.exp((low + high) / 2);
    const chosen = descend(record, grid, best.chosen, costs, price, folds);
    const { total, stopped } = evaluate(record, grid, chosen, folds);
    const [miou, cost] = [miouOf(total, classes!), meanCost(stopped, costs)];
    if (miou >= fullMiou - maxLoss) {
      low = Math.log(price);
      if (cost < best.cost) best = { chosen, miou, cost };
    } else high = Math.log(price);
  }
  const thresholds = best.chosen.map((own, exit) =>
    Array.from(own, (bin, c) => (bin === bins ? NEVER : grid.edges[exit]![c]![bin]!)),
  );
  return { thresholds, miou: best.miou, fullMiou, meanCost: best.cost };
}

/** Probabilities of every class at every exit in bins: bin b of a pixel is the number of edges below its probability. */
interface Bins {
  readonly count: number;
  /** [e − 1][k] of [bins] rising thresholds. */
  readonly edges: readonly (readonly Float32Array[])[];
  /** [e − 1] of [n]: edges that the pixel's probability exceeds. */
  readonly passed: readonly Uint8Array[];
}

function binsOf({ classes, n, counts, predicted, confidences }: PixelRecord, count: number): Bins {
  const edges = predicted.map((own, exit) => {
    const pixels = Array.from({ length: classes }, () => new Map<number, number>());
    for (let i = 0; i < n; i++) {
      const of = pixels[own[i]!]!;
      const at = confidences[exit]![i]!;
      of.set(at, (of.get(at) ?? 0) + (counts?.[i] ?? 1));
    }
    return pixels.map((of) =>
      quantiles(
        [...of].sort(([a], [b]) => a - b),
        count,
      ),
    );
  });
  const passed = predicted.map((own, exit) =>
    Uint8Array.from({ length: n }, (_, i) => {
      const of = edges[exit]![own[i]!]!;
      let [low, high] = [0, count];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (confidences[exit]![i]! > of[middle]!) low = middle + 1;
        else high = middle;
      }
      return low;
    }),
  );
  return { count, edges, passed };
}

/** Thresholds that equally many pixels lie between, the lowest ½: from there on, a class that exceeds its threshold is the predicted one. */
function quantiles(sorted: readonly (readonly [value: number, pixels: number])[], count: number): Float32Array {
  const all = sorted.reduce((sum, [, pixels]) => sum + pixels, 0);
  const edges = new Float32Array(count).fill(0.5);
  let [at, below] = [0, 0];
  for (let bin = 1; bin < count; bin++) {
    while (at < sorted.length - 1 && below + sorted[at]![1] <= (bin * all) / count) below += sorted[at++]![1];
    edges[bin] = Math.max(0.5, sorted[at]?.[0] ?? 0.5);
  }
  return edges;
}

interface Evaluation {
  /** [folds] of [k · k]. */
  readonly byFold: readonly Float64Array[];
  readonly total: Float64Array;
  /** [e] pixels. */
  readonly stopped: Float64Array;
}

function evaluate(record: PixelRecord, { passed }: Bins, chosen: readonly Int32Array[], folds: number): Evaluation {
  const { classes: k, n, labels, answers, predicted, frames } = record;
  const e = answers.length;
  const byFold = Array.from({ length: folds }, () => new Float64Array(k * k));
  const stopped = new Float64Array(e);
  for (let i = 0; i < n; i++) {
    let j = 0;
    while (j < e - 1 && passed[j]![i]! <= chosen[j]![predicted[j]![i]!]!) j++;
    const pixels = record.counts?.[i] ?? 1;
    stopped[j]! += pixels;
    byFold[frames[i]! % folds]![labels[i]! * k + answers[j]![i]!]! += pixels;
  }
  return { byFold, total: summed(byFold), stopped };
}

/** Raises mIoU − price · cost, one class at one exit at a time. */
function descend(
  record: PixelRecord,
  bins: Bins,
  from: readonly Int32Array[],
  costs: readonly number[],
  price: number,
  folds: number,
): readonly Int32Array[] {
  const { classes: k, n, labels, answers, predicted, frames } = record;
  const e = answers.length;
  const chosen = from.map((own) => own.slice());
  const b = bins.count;
  const all = record.counts?.reduce((sum, count) => sum + count, 0) ?? n;
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    let moved = false;
    for (let exit = e - 2; exit >= 0; exit--) {
      const size = k * k;
      // For each class and bin, what its pixels change by stopping here: confusion counts of every fold, and cost.
      const changes = new Float64Array(k * (b + 1) * folds * size);
      const savings = new Float64Array(k * (b + 1));
      for (let i = 0; i < n; i++) {
        let j = 0;
        while (j < exit && bins.passed[j]![i]! <= chosen[j]![predicted[j]![i]!]!) j++;
        if (j < exit) continue;
        const c = predicted[exit]![i]!;
        j = exit + 1;
        while (j < e - 1 && bins.passed[j]![i]! <= chosen[j]![predicted[j]![i]!]!) j++;
        const bin = c * (b + 1) + bins.passed[exit]![i]!;
        const at = (bin * folds + (frames[i]! % folds)) * size + labels[i]! * k;
        const pixels = record.counts?.[i] ?? 1;
        changes[at + answers[exit]![i]!]! += pixels;
        changes[at + answers[j]![i]!]! -= pixels;
        savings[bin]! += (pixels * (costs[j]! - costs[exit]!)) / all;
      }
      let { byFold } = evaluate(record, bins, chosen, folds);
      for (let c = 0; c < k; c++) {
        const before = byFold.map((counts) => miouOf(counts, k));
        const now = chosen[exit]![c]!;
        // From where it is, all thresholds: first everything of the class goes on, then bin after bin stops.
        const running = byFold.map((counts) => counts.slice());
        let cost = 0;
        for (let bin = now + 1; bin <= b; bin++)
          cost += add(running, changes, c * (b + 1) + bin, folds, size, -1, savings);
        const objective = (counts: readonly Float64Array[], saved: number) => miouOf(summed(counts), k) + price * saved;
        let best = { bin: now, value: objective(byFold, 0), counts: byFold };
        for (let threshold = b; threshold >= 0; threshold--) {
          if (threshold < b) cost += add(running, changes, c * (b + 1) + threshold + 1, folds, size, 1, savings);
          const value = objective(running, cost);
          if (value <= best.value + 1e-12) continue;
          const worse = running.some((counts, fold) => miouOf(counts, k) + price * cost < before[fold]! - 1e-12);
          if (!worse) best = { bin: threshold, value, counts: running.map((counts) => counts.slice()) };
        }
        if (best.bin === now) continue;
        chosen[exit]![c] = best.bin;
        byFold = best.counts;
        moved = true;
      }
    }
    if (!moved) break;
  }
  return chosen;
}

/** Adds (or takes away) what the pixels of one bin change by stopping; returns what that saves. */
function add(
  running: readonly Float64Array[],
  changes: Float64Array,
  bin: number,
  folds: number,
  size: number,
  sign: 1 | -1,
  savings: Float64Array,
): number {
  for (let fold = 0; fold < folds; fold++) {
    const first = (bin * folds + fold) * size;
    for (let at = 0; at < size; at++) running[fold]![at]! += sign * changes[first + at]!;
  }
  return sign * savings[bin]!;
}

function summed(parts: readonly Float64Array[]): Float64Array {
  const total = new Float64Array(parts[0]!.length);
  for (const part of parts) for (let at = 0; at < total.length; at++) total[at]! += part[at]!;
  return total;
}

/** Mean IoU over the classes that occur. */
function miouOf(counts: Float64Array, k: number): number {
  let [sum, seen] = [0, 0];
  for (let c = 0; c < k; c++) {
    let union = -counts[c * k + c]!;
    for (let other = 0; other < k; other++) union += counts[c * k + other]! + counts[other * k + c]!;
    if (union <= 0) continue;
    seen++;
    sum += counts[c * k + c]! / union;
  }
  return seen === 0 ? 0 : sum / seen;
}

function meanCost(stopped: Float64Array, costs: readonly number[]): number {
  let [sum, n] = [0, 0];
  stopped.forEach((count, exit) => {
    sum += count * costs[exit]!;
    n += count;
  });
  return sum / n;
}
