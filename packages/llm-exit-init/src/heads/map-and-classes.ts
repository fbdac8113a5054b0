import { type Device, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { fitWeights } from "../calibration/fit-weights.ts";
import type { TokenRows } from "../calibration/rows.ts";
import type { OutputLayer } from "../output-layer.ts";
import type { TokenStatistics } from "../statistics/token-statistics.ts";
import { weighted } from "./calibrate.ts";
import { linearMap } from "./linear-map.ts";
import { priorMatch } from "./prior-match.ts";
import { sharedCovariance } from "./shared-covariance.ts";
import type { TokenHead } from "./token-head.ts";

/** Options of {@link mapAndClasses}. */
export interface MapAndClassesOptions {
  /** See {@link linearMap}. Default 1e-3. */
  readonly ridge?: number;
  /** See {@link sharedCovariance}. Default 0.01. */
  readonly shrinkage?: number;
  /** See {@link sharedCovariance}. Default 5. */
  readonly pseudoCounts?: number;
  /** Ends the call between two passes over the rows: it rejects with the signal's reason, the device can be used on. */
  readonly signal?: AbortSignal;
}

const schema = z.strictObject({
  ridge: z.number().positive().default(1e-3),
  shrinkage: z.number().min(0).max(1).default(0.01),
  pseudoCounts: z.number().min(0).default(5),
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * The head that predicts best without a gradient, and the default: the linear map's logits, matched to the frequencies of the text, and the
 * shared covariance's log likelihood ratios, each times a weight; both weights (a temperature among them) by cross entropy on calibration
 * text. Like the others it is one weight and one bias in the end.
 *
 * Source: not the paper's.
 * @param statistics With Gram matrix and cross sums, of normed states (`norm: "final"`).
 * @param rows Some 8,000 positions of text that the statistics are not of.
 * @throws InputError as `linearMap`, `sharedCovariance` and `calibrate`.
 */
export async function mapAndClasses(
  device: Device,
  statistics: TokenStatistics,
  output: OutputLayer,
  rows: TokenRows,
  options?: MapAndClassesOptions,
): Promise<TokenHead> {
  const caller = "llm-exit-init.heads.mapAndClasses";
  const { ridge, shrinkage, pseudoCounts, signal } = parseOptions(caller, schema, options);
  const map = await linearMap(device, statistics, output, { ridge });
  signal?.throwIfAborted();
  const matched = await priorMatch(caller, device, map, statistics, rows, output.norm);
  signal?.throwIfAborted();
  const classes = await sharedCovariance(device, statistics, { shrinkage, pseudoCounts, prior: false });
  const { weights } = await fitWeights(caller, device, [matched, classes], rows, output.norm, signal);
  return weighted("map + classes", [matched, classes], weights);
}
