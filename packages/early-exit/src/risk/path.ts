import type { ExitRecord } from "../records/record.ts";
import { agreementOf, confidencesAt, fitAgreement } from "../thresholds/agreement.ts";

/** Points of a path that is found here. */
const POINTS = 100;

/**
 * Threshold vectors from cautious to bold, found on samples that test nothing: one probability of agreeing with the full
 * network for all exits, lowered in steps that take up equally many of the recorded ones.
 */
export function pathOf(record: ExitRecord): readonly (readonly number[])[] {
  const agreement = fitAgreement(record);
  const falling = new Float64Array(agreement.slopes.length * record.n);
  for (const j of agreement.slopes.keys()) falling.set(agreementOf(agreement, j, record.confidences[j]!), j * record.n);
  falling.sort().reverse();
  const taus = Array.from({ length: POINTS }, (_, step) => falling[Math.floor((step * falling.length) / POINTS)]!);
  return [...new Set(taus)].map((tau) => confidencesAt(agreement, tau));
}
