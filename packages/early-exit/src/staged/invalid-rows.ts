import { InputError, sizeOf, type Tensor, tensor } from "@exitkit/core-gpu";
import { REJECTED } from "../records/record.ts";
import type { Classification } from "./staged.ts";

/** Whether a number is none for a network: NaN, infinite, or so large (1.8e19) that its square is infinite in float32. */
const isInvalid = (value: number): boolean => !Number.isFinite(Math.fround(value * value));

/** Rows of a batch [n, ...] of floats that hold a number that is none, ascending. */
export function invalidRows({ dtype, shape, data }: Tensor): readonly number[] {
  if (!dtype.startsWith("float")) return [];
  const values = data as Float32Array;
  // Every batch comes by here: a plain loop over all, and over the rows only where it found something.
  let zero = 0;
  for (let at = 0; at < values.length; at++) zero += Math.fround(values[at]! * values[at]!) * 0;
  if (zero === 0) return [];
  const width = sizeOf(shape.slice(1));
  const bad: number[] = [];
  for (let row = 0; row < shape[0]!; row++) {
    if (values.subarray(row * width, (row + 1) * width).some(isInvalid)) bad.push(row);
  }
  return bad;
}

/** Refuses a batch for its rows that are no samples. */
export function refuseRows(caller: string, batch: Tensor, rows: readonly number[]): never {
  const width = sizeOf(batch.shape.slice(1));
  const values = (batch.data as Float32Array).subarray(rows[0]! * width, (rows[0]! + 1) * width);
  const value = values.find(isInvalid);
  throw new InputError(
    caller,
    "samples must be finite numbers, and their squares too",
    `${value} in ${listed(rows)} of a batch of ${batch.shape[0]}`,
    'Check how that sample was decoded and normalised, or turn such away: onInvalid: "reject".',
  );
}

/** Refuses answers that are none: numbers so large that the network's own overflow. */
export function refuseAnswers(caller: string, n: number, rows: readonly number[], exit: string): never {
  throw new InputError(
    caller,
    "confidences must be numbers",
    `NaN at exit "${exit}" for ${listed(rows)} of a batch of ${n}`,
    'The sample overflows inside the network: check its normalisation, or turn such away: onInvalid: "reject".',
  );
}

function listed(rows: readonly number[]): string {
  const shown = rows.slice(0, 10).join(", ");
  return `row${rows.length > 1 ? "s" : ""} ${shown}${rows.length > 10 ? ` and ${rows.length - 10} more` : ""}`;
}

/** The batch without some of its rows. */
export function withoutRows(batch: Tensor, rows: readonly number[]): Tensor {
  const { dtype, shape, data } = batch;
  const left = new Set(rows);
  const width = sizeOf(shape.slice(1));
  const made = tensor(dtype as "float32", [shape[0]! - left.size, ...shape.slice(1)]);
  let at = 0;
  for (let row = 0; row < shape[0]!; row++) {
    if (left.has(row)) continue;
    made.data.set((data as Float32Array).subarray(row * width, (row + 1) * width), at);
    at += width;
  }
  return made;
}

/** Answers with the rows put back that were left out: rejected at the first exit, which did not compute them. */
export function withRejected(answers: Classification, rows: readonly number[]): Classification {
  if (rows.length === 0) return answers;
  const n = answers.predictions.length + rows.length;
  const left = new Set(rows);
  const predictions = new Int32Array(n).fill(REJECTED);
  const leftAt = new Int32Array(n);
  const confidences = new Float32Array(n);
  let at = 0;
  for (let row = 0; row < n; row++) {
    if (left.has(row)) continue;
    predictions[row] = answers.predictions[at]!;
    leftAt[row] = answers.leftAt[at]!;
    confidences[row] = answers.confidences[at++]!;
  }
  return { ...answers, predictions, leftAt, confidences };
}
