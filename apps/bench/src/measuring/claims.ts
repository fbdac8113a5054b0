import { z } from "zod";
import { type Column, type Table, tableOf } from "../report/table.ts";

export const HOLDS = "as the paper says";
export const FAILS = "otherwise";

/** A sentence of a paper beside what came out here. */
export const claimSchema = z.object({
  /** Begins with what the paper says it of, where that is something else. */
  paper: z.string(),
  measured: z.string(),
  /** `within the spread`: the difference is not larger than its standard deviation over seeds. */
  status: z.enum([HOLDS, FAILS, "within the spread", "not attempted"]),
});

export type Claim = z.output<typeof claimSchema>;

/** A claim whose status may be in other words, where it neither holds nor fails. */
export const wordedClaimSchema = claimSchema.extend({ status: z.string() });

/** A claim that is judged on several data sets. */
export const datasetClaimSchema = wordedClaimSchema.extend({
  /** What it was measured on. */
  dataset: z.string(),
});

export type DatasetClaim = z.output<typeof datasetClaimSchema>;

type Shown = z.output<typeof wordedClaimSchema> & { readonly dataset?: string; readonly claim?: string };

/**
 * "The paper says / measured here / status" as a table; before them what is claimed, where claims say it.
 *
 * @param nameOf What a data set is called. Default: claims are of one, and it is not shown.
 */
export function claimsTable(claims: readonly Shown[], nameOf?: (dataset: string) => string): Table {
  const words = (heading: string, key: "claim" | "paper" | "measured"): Column<Shown> => [
    heading,
    (claim) => ({ text: claim[key] ?? "", tone: "words" }),
  ];
  return tableOf(claims, [
    nameOf !== undefined && ["data", ({ dataset }) => nameOf(dataset!)],
    claims.some(({ claim }) => claim !== undefined) && words("claim", "claim"),
    words("the paper says", "paper"),
    words("measured here", "measured"),
    [
      "status",
      ({ status }) => ({ text: status, tone: status === HOLDS ? "right" : status === FAILS ? "wrong" : "open" }),
    ],
  ]);
}
