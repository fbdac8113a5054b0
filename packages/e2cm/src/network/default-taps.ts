import { InputError, proposeCuts } from "@exitkit/core-gpu";
import type { Metric } from "../exits/closed-form.ts";
import { backboneMacs, type Network } from "./network.ts";

/** Where exits with a shared covariance stand, as fractions of the network's MACs. */
const FRACTIONS = [2 / 9, 4 / 9, 7 / 9];

/**
 * Where exits stand when the caller does not say: for the Euclidean metric after every block, as in the paper; for shared
 * covariance, whose exits pay sooner and cost a cut each, after the blocks nearest to 2/9, 4/9 and 7/9 of the MACs.
 *
 * @throws InputError when no block can be found: the caller must name the tensors.
 */
export function defaultTaps(caller: string, network: Network, metric: Metric): readonly string[] {
  // A float32 form is put in line with its tensor and back again; of the three it is what can be read.
  const forms = new Set([...network.readable.values()]);
  const proposed = [
    ...new Set(proposeCuts(network.model).map((tap) => network.readable.get(tap) ?? formOf(tap, forms))),
  ].filter((tap) => network.shapes.get(tap)?.[0] === 1);
  if (proposed.length === 0) {
    throw new InputError(
      caller,
      "the model needs a block to exit after",
      "none found",
      "Name the tensors: `taps: [...]`.",
    );
  }
  if (metric === "euclidean") return proposed;
  const placed = proposed.map((tap) => ({ tap, fraction: backboneMacs(network, tap) / network.count.total }));
  const early = placed.filter(({ fraction }) => fraction > 0 && fraction < 0.97);
  const nearest = FRACTIONS.map((wanted) =>
    (early.length > 0 ? early : placed).reduce((best, candidate) =>
      Math.abs(candidate.fraction - wanted) < Math.abs(best.fraction - wanted) - 1e-9 ? candidate : best,
    ),
  );
  return [...new Set(nearest.map(({ tap }) => tap))];
}

/** The float32 form of a tensor that reads on from one, which ends in /again. */
function formOf(tap: string, forms: ReadonlySet<string>): string {
  const form = tap.replace(/\/again(_\d+)?$/, "/float32");
  return forms.has(form) ? form : tap;
}
