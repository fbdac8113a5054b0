import type { ExitRecord } from "../records/record.ts";
import type { Replay } from "../records/replay.ts";

/**
 * What is lost on a sample (a unit of the record: its pixels or tokens count alike within their group), on average over all to come:
 * `error` = 1 where the answer is wrong; `loss` = 1 where the full network is right and the answer wrong, −1 the other
 * way round (the accuracy lost); `harm` = 1 where the full network is right and the answer wrong; `disagreement` = 1 where
 * the answer is not the full network's (true labels are not looked at). The full network is the record's last exit, or the
 * `reference` of {@link CalibrateOptions}.
 */
export type Risk = "error" | "loss" | "harm" | "disagreement";

/** Each sample's loss, −1, 0 or 1, or each group's mean of them. */
export type Losses = Int8Array | Float64Array;

/** Each sample's loss against the answers of the full network, `[n]`; of a record in groups the mean over each, in order of their first units. */
export function lossesOf(record: ExitRecord, point: Replay, full: Int32Array, risk: Risk): Losses {
  const losses = unitLosses(record, point, full, risk);
  if (record.groups === undefined) return losses;
  const { groups } = record;
  const sums: number[] = [];
  const units: number[] = [];
  let at = -1;
  for (let i = 0; i < losses.length; i++) {
    if (i === 0 || groups[i] !== groups[i - 1]) {
      at++;
      sums.push(0);
      units.push(0);
    }
    sums[at]! += losses[i]!;
    units[at]!++;
  }
  return Float64Array.from(sums, (sum, group) => sum / units[group]!);
}

/** `[n]` each unit's loss. */
function unitLosses({ n, labels }: ExitRecord, point: Replay, full: Int32Array, risk: Risk): Int8Array {
  const losses = new Int8Array(n);
  for (let i = 0; i < n; i++) {
    const wrong = point.predictions[i] === labels[i] ? 0 : 1;
    const fullWrong = full[i] === labels[i] ? 0 : 1;
    if (risk === "error") losses[i] = wrong;
    else if (risk === "loss") losses[i] = wrong - fullWrong;
    else if (risk === "harm") losses[i] = wrong > fullWrong ? 1 : 0;
    else losses[i] = point.predictions[i] === full[i] ? 0 : 1;
  }
  return losses;
}

/** Their sum. */
export function total(losses: Losses): number {
  let sum = 0;
  for (const loss of losses) sum += loss;
  return sum;
}
