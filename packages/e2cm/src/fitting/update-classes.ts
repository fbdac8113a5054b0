import { checkArguments, InputError } from "@exitkit/core-gpu";
import { rootMeanSquareDistances } from "../exits/class-means.ts";
import { type ClassMeansExit, checkSameModel, exitOverhead, type OutputExit } from "../exits/exits.ts";
import { FITTED, type FittedExits, outputsOf } from "../exits/fitted-exits.ts";
import type { ClassStatistics, ExitStatistics } from "../statistics/statistics.ts";
import { STATISTICS } from "../statistics/statistics.ts";

/** Class means by Euclidean distance, of an early exit or of the network's outputs. */
type EuclideanMeans = OutputExit & { readonly metric: "euclidean" };

/**
 * Goes on learning from further samples, without the old ones: means of new classes are appended, means of old classes that
 * have samples among the new ones move, the others stay.
 *
 * c_k' = (n_k c_k + Σ_{i∈new, y_i = k} x_i) / (n_k + number of them). The root mean square distance of all samples to every mean,
 * r_k' = √(E'‖x‖² − 2 c_k'·E'[x] + ‖c_k'‖²), follows from the same sums, and the normaliser keeps its ratio to it:
 * m_k' = r_k'·m_k/r_k; a new class has the average ratio of the old ones. So samples may come one by one or all at once, in any
 * order, and nothing is different from having fitted all of them from the start with normalisers from one pass, up to float32
 * rounding. Where m_k was a mean distance of a second pass, the new one is an estimate of what a second pass would give.
 *
 * Thresholds were chosen for the old means and are dropped with the operating points and the rejection: call
 * `calibrateExits`, or open the classifier with thresholds of your own. Calibrate on other samples of the new classes than those
 * their means are made of: a mean is nearer to its own samples than to others, and with `reject` the promise would be lost.
 *
 * @param statistics Of the new samples at the same exits, from `accumulateStatistics` with `classes` as large as the largest label asks
 * and `outputs` as many as the network has; the network's output named last where the exits hold class means of it.
 * @throws InputError on exits with a shared covariance or saved before counts were kept, statistics of another model or of other
 * exits, a new class without samples, or a new class that the last exit, answering by the network's head, could not answer.
 * Source: the thesis' future work (new class means online, Görmez, UIC 2024 [S]); the running form [D].
 * @example
 * ```ts
 * import { readModelFile, readSafetensorsFile, rows } from "@exitkit/core-gpu";
 * import { accumulateStatistics, calibrateExits, fit, updateClasses } from "@exitkit/e2cm";
 * const { train, trainLabels } = (await readSafetensorsFile("pictures.safetensors")).tensors;
 * const labels = trainLabels!.data as Int32Array;
 * const batches = (from: number, to: number) => [{ x: rows(train!, from, to), y: labels.subarray(from, to) }];
 * const model = await readModelFile("network.onnx"); // 4 scores
 * const fitted = await fit(model, batches(0, 180), { classes: 4, metric: "euclidean", last: "nearestMean" , calibration: batches(180, 240) });
 *
 * // Ten pictures of a fifth class, here: dark ones. Five make its means, five calibrate.
 * const dark = rows(train!, 0, 10);
 * (dark.data as Float32Array).forEach((value, i, pixels) => { pixels[i] = value / 4 - 2; });
 * const [few, others] = [0, 5].map((from) => ({ x: rows(dark, from, from + 5), y: new Int32Array(5).fill(4) }));
 * const taps = [...fitted.exits.map(({ tap }) => tap), "logits"];
 * const statistics = await accumulateStatistics(model, [few!], { classes: 5, outputs: 4, metric: "euclidean", taps });
 * const wider = updateClasses(fitted, statistics);
 * const ready = await calibrateExits(model, [wider], { calibration: [...batches(180, 240), others!] });
 * console.assert(ready.classes === 5 && ready.counts!.join() === "45,45,45,45,5");
 * ```
 */
export function updateClasses(fitted: FittedExits, statistics: ClassStatistics): FittedExits {
  checkArguments("e2cm.updateClasses", { fitted: [fitted, FITTED], statistics: [statistics, STATISTICS] });
  const { exits, output, counts } = checkUpdate(fitted, statistics);
  const { classes: k } = statistics;
  const before = Float64Array.from({ length: k }, (_, c) => counts[c] ?? 0);
  const updated = exits.map((exit, index) => ({ ...exit, ...updatedMeans(exit, before, statistics, index) }));
  const overheads = updated.map((exit, index) => exitOverhead(exit) - exitOverhead(exits[index]!));
  let added = 0;
  return {
    ...fitted,
    classes: k,
    exits: updated,
    output: output === null ? null : { ...output, ...updatedMeans(output, before, statistics, exits.length) },
    counts: Array.from(before, (count, c) => count + statistics.counts[c]!),
    rejection: null,
    costs: {
      ...fitted.costs,
      exits: fitted.costs.exits.map((cost, index) => {
        added += overheads[index] ?? 0;
        return cost + added;
      }),
    },
    operatingPoints: [],
    guarded: null,
    calibration: null,
  };
}

/** Means, normalisers and mean square after the new samples. */
function updatedMeans(exit: EuclideanMeans, before: Float64Array, { counts, exits }: ClassStatistics, index: number) {
  const { sums, squares, d }: ExitStatistics = exits[index]!;
  const k = counts.length;
  const old = exit.distances.length;
  const means = Float64Array.from({ length: k * d }, (_, at) => {
    const c = Math.floor(at / d);
    const seen = before[c]! + counts[c]!;
    return counts[c] === 0 ? exit.means[at]! : ((exit.means[at] ?? 0) * before[c]! + sums[at]!) / seen;
  });
  const n = total(before);
  const fresh = total(counts);
  const meanSquare = (exit.meanSquare! * n + squares) / (n + fresh);
  const was = rootMeanSquareDistances(exit.means, average(exit.means, before.subarray(0, old)), exit.meanSquare!);
  const all = before.map((count, c) => count + counts[c]!);
  const is = rootMeanSquareDistances(means, average(means, all), meanSquare);
  const ratios = Array.from(exit.distances, (distance, c) => distance / was[c]!);
  const usual = ratios.reduce((sum, ratio) => sum + ratio, 0) / old;
  return {
    means: Float32Array.from(means),
    distances: Float32Array.from(is, (distance, c) => distance * (ratios[c] ?? usual)),
    meanSquare,
  };
}

/** Average of the class means, each weighted by its pictures: [d]. */
function average(means: Float64Array | Float32Array, counts: Float64Array): Float64Array {
  const d = means.length / counts.length;
  const n = total(counts);
  const sum = new Float64Array(d);
  counts.forEach((count, c) => {
    for (let i = 0; i < d; i++) sum[i]! += (count / n) * means[c * d + i]!;
  });
  return sum;
}

function total(counts: Float64Array): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

function checkUpdate(fitted: FittedExits, statistics: ClassStatistics) {
  const caller = "e2cm.updateClasses";
  const { counts, output } = fitted;
  checkSameModel(caller, fitted.modelHash, { hash: statistics.modelHash, fileHash: statistics.modelHash });
  const exits = fitted.exits.filter((exit): exit is ClassMeansExit => exit.metric === "euclidean");
  if (exits.length < fitted.exits.length || output?.metric === "sharedCovariance") {
    throw new InputError(
      caller,
      "the exits must be Euclidean class means",
      "exits with a shared covariance, which further samples change everywhere",
      "Keep the statistics, merge those of the new samples into them (withMoreClasses, mergeStatistics), and solve again.",
    );
  }
  const kept = [...exits, ...(output === null ? [] : [output])];
  if (counts === null || kept.some(({ meanSquare }) => meanSquare === null)) {
    const expectation = "the exits must say how many samples they were fitted on";
    throw new InputError(caller, expectation, "exits saved by an older version", "Fit them again.");
  }
  const d = (exit: EuclideanMeans) => exit.means.length / exit.distances.length;
  const wanted = [
    ...exits.map((exit) => `${exit.tap} (${d(exit)})`),
    ...(output === null ? [] : [`output (${d(output)})`]),
  ];
  const got = statistics.exits.map((exit, index) => `${index < exits.length ? exit.tap : "output"} (${exit.d})`);
  if (wanted.join() !== got.join()) {
    throw new InputError(
      caller,
      `statistics at the same exits, with as many features: ${wanted.join(", ")}`,
      got.join(", "),
      "Accumulate with the exits and features of the fit, and the network's output last where class means of it are kept.",
    );
  }
  if (statistics.classes < fitted.classes || statistics.outputs !== outputsOf(fitted)) {
    throw new InputError(
      caller,
      `statistics of at least ${fitted.classes} classes and of ${outputsOf(fitted)} outputs`,
      `${statistics.classes} classes and ${statistics.outputs} outputs`,
    );
  }
  if (statistics.classes > fitted.classes && fitted.last === "head") {
    throw new InputError(
      caller,
      `the last exit must be able to answer class ${fitted.classes}`,
      "the network's own head, which was not trained on it",
      'Fit with last: "nearestMean".',
    );
  }
  for (let label = fitted.classes; label < statistics.classes; label++) {
    if (statistics.counts[label]! > 0) continue;
    throw new InputError(caller, "every new class needs at least one sample", `none of class ${label}`);
  }
  return { exits, output: output as EuclideanMeans | null, counts };
}
