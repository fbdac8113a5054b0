import { InputError } from "@exitkit/core-gpu";
import type { EpochColumns } from "../brief-run/brief-run.ts";
import { type Evidence, need } from "./evidence.ts";

/**
 * How often each sample was forgotten: right in an epoch and wrong in the next one that it was seen in. One that was never right,
 * or never seen, gets one more than there are epochs, above every count.
 *
 * Source: Toneva et al., "An Empirical Study of Example Forgetting", ICLR 2019 [S: the authors' code gives samples that were never
 * learned the maximum].
 */
export function forgettingEvents(epochs: readonly EpochColumns[], labels: ArrayLike<number>): Float64Array {
  const n = labels.length;
  const events = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    let [before, ever] = [false, false];
    for (const { final, seen } of epochs) {
      if (seen[i] === 0) continue;
      const right = final.prediction[i] === labels[i];
      if (before && !right) events[i]!++;
      before = right;
      ever ||= right;
    }
    if (!ever) events[i] = epochs.length + 1;
  }
  return events;
}

/**
 * The area under the margin: the mean, over the epochs that a sample was seen in, of the label's score less the largest other.
 * NaN for one that was never seen.
 *
 * Source: Pleiss et al., "Identifying Mislabeled Data using the Area Under the Margin Ranking", NeurIPS 2020.
 */
export function areaUnderMargin(epochs: readonly EpochColumns[], n: number): Float64Array {
  const sums = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    let count = 0;
    for (const { final, seen } of epochs) {
      if (seen[i] === 0) continue;
      sums[i]! += final.labelMargin[i]!;
      count++;
    }
    sums[i]! /= count;
  }
  return sums;
}

/**
 * Dynamic uncertainty: the standard deviation of p_y in every window of that many epochs one after another, averaged over the
 * windows. Epochs that a sample was not seen in are left out of its row; NaN for one seen in fewer than two.
 *
 * Source: He, Yang, Huang, Zhao, "Large-scale Dataset Pruning with Dynamic Uncertainty", 2023: windows of 10 epochs; deviations by
 * one less than their number [D].
 */
export function dynamicUncertainty(epochs: readonly EpochColumns[], n: number, window: number): Float64Array {
  const made = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    const row = epochs.filter(({ seen }) => seen[i] === 1).map(({ final }) => final.labelProbability[i]!);
    const width = Math.min(window, row.length);
    const windows = row.length - width + 1;
    for (let from = 0; from < windows; from++) {
      const part = row.slice(from, from + width);
      const mean = part.reduce((sum, p) => sum + p, 0) / width;
      made[i]! += Math.sqrt(part.reduce((sum, p) => sum + (p - mean) ** 2, 0) / (width - 1)) / windows;
    }
    if (row.length < 2) made[i] = Number.NaN;
  }
  return made;
}

/**
 * Evidence whose early exit's confidence and probability of the label are means over the last `count` epochs, of those that saw the
 * sample; one that none of them saw keeps what is said of it at the end.
 *
 * @throws InputError where there are fewer epochs.
 */
export function averagedEarly(caller: string, method: string, evidence: Evidence, count: number): Evidence {
  const early = need(caller, method, evidence, "early");
  const epochs = need(caller, method, evidence, "epochs");
  if (epochs.length < count) {
    throw new InputError(
      caller,
      "averaged must be at most the number of epochs in the evidence",
      `${count} of ${epochs.length}`,
    );
  }
  const last = epochs.slice(-count);
  const mean = (column: "confidence" | "labelProbability") =>
    early[column].map((atEnd, i) => {
      const seen = last.filter((epoch) => epoch.seen[i] === 1);
      return seen.length === 0 ? atEnd : seen.reduce((sum, epoch) => sum + epoch.early[column][i]!, 0) / seen.length;
    });
  return {
    ...evidence,
    early: { ...early, confidence: mean("confidence"), labelProbability: mean("labelProbability") },
  };
}

/** NaN of samples that no epoch has seen become the largest of the others, so that they are kept. */
export function unseenLast(scores: Float64Array): Float64Array {
  let most = Number.NEGATIVE_INFINITY;
  for (const score of scores) if (score > most) most = score;
  return scores.map((score) => (Number.isNaN(score) ? Math.max(most, -Number.MAX_VALUE) : score));
}
