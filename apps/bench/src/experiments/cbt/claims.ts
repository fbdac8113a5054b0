import type { Claim } from "../../measuring/claims.ts";
import { decimal, percent, points } from "../../report/numbers.ts";
import type { CbtRow } from "./schema.ts";

/** What the paper says beside what these rows say. */
export function claimsOf(rows: readonly CbtRow[], correlation: number, range: readonly [number, number]): Claim[] {
  const [, beta] = range;
  const single = rows.find((row) => row.method === "one threshold" && row.alpha === beta);
  const ranges = rows.filter((row) => row.method === "cbt" && row.beta === beta);
  const narrow = ranges.toSorted((a, b) => b.alpha! - a.alpha!)[0];
  const claims: Claim[] = [];
  if (single !== undefined && narrow !== undefined) {
    const saved = 1 - narrow.macsFraction / single.macsFraction;
    claims.push({
      paper:
        "At a loss of 0.6 points of mean IoU, thresholds [.99, .998] take 23 % (HRNet-W48) and 13 % (W18) less computation than one threshold of .998.",
      measured: `[${narrow.alpha}, ${narrow.beta}] takes ${percent(saved, 1)} less than one threshold of ${single.alpha} and loses ${points(single.miou - narrow.miou)} (${single.network}).`,
      status: saved >= 0.13 && single.miou - narrow.miou <= 0.006 ? "as the paper says" : "otherwise",
    });
    const singles = rows.filter((row) => row.method === "one threshold");
    const line = macsAt(singles, narrow.miou);
    if (line !== null) {
      claims.push({
        paper: "Thresholds of classes are better than one threshold.",
        measured: `${single!.network}: at the mean IoU of [${narrow.alpha}, ${narrow.beta}] one threshold takes ${decimal(line, 3)} of the network's MACs, thresholds of classes ${decimal(narrow.macsFraction, 3)}.`,
        status: narrow.macsFraction < line ? "as the paper says" : "otherwise",
      });
    }
  }
  claims.push({
    paper: "Road, sky and building are easy, rare classes hard (order of the thresholds on Cityscapes).",
    measured: `${rows[0]?.network}: rank correlation of the eleven thresholds with the paper's: ${decimal(correlation, 2)}.`,
    status: correlation >= 0.5 ? "as the paper says" : "otherwise",
  });
  return claims;
}

/** MACs of one threshold at a mean IoU, linear between its neighbours; null outside. */
export function macsAt(singles: readonly CbtRow[], miou: number): number | null {
  const sorted = singles.toSorted((a, b) => a.miou - b.miou);
  const above = sorted.findIndex((row) => row.miou >= miou);
  if (above < 0) return null;
  if (above === 0) return sorted[0]!.miou === miou ? sorted[0]!.macsFraction : null;
  const [low, high] = [sorted[above - 1]!, sorted[above]!];
  const share = (miou - low.miou) / (high.miou - low.miou || 1);
  return low.macsFraction + share * (high.macsFraction - low.macsFraction);
}
