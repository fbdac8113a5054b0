import type { Generator } from "@exitkit/core-gpu";
import type { Reals } from "../columns/column.ts";

/**
 * Coverage-centric selection: of `rows` the `cut` hardest go, the others are dealt into strata of equal width between their least and
 * their largest hardness, and `keep` samples are drawn from the strata: as many from each, what small strata lack from the larger.
 *
 * @param hardness `[n]`, the hardest largest.
 * @returns The rows that stay.
 * Source: Zheng, Liu, Lai, Prakash, "Coverage-centric Coreset Selection for High Pruning Rates", ICLR 2023, algorithm 1.
 * Differs: ties at the cut are drawn at random.
 */
export function coverage(
  rows: Int32Array,
  hardness: Reals,
  keep: number,
  cut: number,
  strata: number,
  random: Generator,
): Int32Array {
  const order = random.shuffle([...rows]).sort((a, b) => hardness[a]! - hardness[b]!);
  const rest = order.slice(0, Math.max(keep, order.length - cut));
  const [least, most] = [hardness[rest[0]!]!, hardness[rest.at(-1)!]!];
  const width = (most - least) / strata || 1;
  const bins = Array.from({ length: strata }, (): number[] => []);
  for (const row of rest) bins[Math.min(strata - 1, Math.floor((hardness[row]! - least) / width))]!.push(row);
  const filled = bins.filter((bin) => bin.length > 0).sort((a, b) => a.length - b.length);
  const chosen: number[] = [];
  filled.forEach((bin, at) => {
    const share = Math.min(bin.length, Math.floor((keep - chosen.length) / (filled.length - at)));
    chosen.push(...random.shuffle(bin).slice(0, share));
  });
  return Int32Array.from(chosen).sort();
}
