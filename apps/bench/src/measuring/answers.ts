import type { ExitRecord } from "@exitkit/early-exit";

/** How many of the answers are right. */
export function countRight(answers: Int32Array, labels: Int32Array): number {
  return answers.reduce((sum, answer, i) => sum + (answer === labels[i] ? 1 : 0), 0);
}

/** Fraction of a record's samples that exit j answers rightly. */
export function accuracyAt(record: ExitRecord, exit: number): number {
  return countRight(record.predictions[exit]!, record.labels) / record.n;
}

/** The class each row of scores [n, k] answers. */
export function argMaxRows(scores: Float32Array, k: number): Int32Array {
  return Int32Array.from({ length: scores.length / k }, (_, row) => {
    const own = scores.subarray(row * k, (row + 1) * k);
    return own.indexOf(Math.max(...own));
  });
}

/** The mean of numbers. */
export function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
