/** What happens at the exits of a timed batch. */
export type Scenario = "no exits" | "half leave at each exit" | "all leave first";

/**
 * Thresholds at which half of the rows that reach an exit leave there, for each exit but the last. A threshold lies halfway
 * between two neighbouring confidences, so that rounding does not change who leaves; with an odd number of rows the
 * larger half goes on.
 *
 * @param confidences [e][n], of all rows at all exits, the last the full network.
 * @returns [e − 1].
 */
export function halvingThresholds(confidences: readonly Float32Array[]): readonly number[] {
  let rows = Array.from({ length: confidences[0]!.length }, (_, row) => row);
  return confidences.slice(0, -1).map((values) => {
    const sorted = rows.map((row) => values[row]!).sort((a, b) => b - a);
    const leaving = Math.floor(rows.length / 2);
    if (leaving === 0) return 2;
    const threshold = (sorted[leaving - 1]! + sorted[leaving]!) / 2;
    rows = rows.filter((row) => values[row]! <= threshold);
    return threshold;
  });
}
