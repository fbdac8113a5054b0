import { z } from "zod";
import { amount } from "../../measuring/ranges.ts";
import { list, resultSchema } from "../result.ts";

const quartiles = z.tuple([z.number(), z.number()]).readonly();

/** One measured combination; times are medians in milliseconds a batch. */
const row = z.object({
  backbone: z.string(),
  batch: amount,
  /** See scenarios.ts. */
  scenario: z.string(),
  /** Mean MACs a sample pays, heads included ÷ MACs of the plain network. */
  macsFraction: amount,
  /** Staged ÷ plain time of the same round, the median over rounds: a machine that gets busy slows both. */
  wallFraction: amount,
  plainMs: amount,
  stagedMs: amount,
  /** Lower and upper quartile of the same times. */
  plainQuartiles: quartiles,
  stagedQuartiles: quartiles,
  /** Rounds the medians are over. */
  runs: amount,
  cuts: amount,
  /** What a cut costs beyond the arithmetic: median over rounds of (staged − macsFraction · plain) ÷ cuts. */
  msPerCut: z.number(),
  rowsPerStage: list(z.number()),
  /** Load average over the last minute, after the measurement. */
  load: amount,
});

/** result.json of staged-overhead. */
export const schema = resultSchema({ rows: list(row) });

export type OverheadResult = z.output<typeof schema>;
export type OverheadRow = OverheadResult["rows"][number];
