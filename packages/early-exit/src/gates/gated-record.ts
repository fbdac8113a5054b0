import { type ExitRecord, unitsOf } from "../records/record.ts";
import { checkGates, checkLogits } from "./checks.ts";
import { type Gates, gateFeatures, gateScores } from "./gate.ts";
import type { LogitsRecord } from "./record-logits.ts";

/**
 * The record with the gates' values as confidences of the early exits; the last exit's stay. With thresholds of 0.5 `replay`
 * does what the gates decide; other thresholds, {@link solveThresholds} and {@link calibrate} go on from there.
 *
 * @throws InputError on a bad record or gates of other exits.
 */
export function gatedRecord(record: LogitsRecord, gates: Gates): ExitRecord {
  const caller = "early-exit.gatedRecord";
  checkLogits(caller, record);
  checkGates(caller, gates, record.exits, record.classes);
  const { exits, n, predictions, labels } = record;
  const early = gates.gates.map((gate, j) =>
    Float32Array.from(gateScores(gateFeatures(record, j), gate), (score) => 1 / (1 + Math.exp(-score))),
  );
  return { ...unitsOf(record), exits, n, confidences: [...early, record.confidences.at(-1)!], predictions, labels };
}
