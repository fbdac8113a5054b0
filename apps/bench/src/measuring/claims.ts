import { z } from "zod";
import { type Column, type Table, tableOf } from "../report/table.ts";

/** A sentence of a paper beside what came out here. */
export const claimSchema = z.object({
  /** What it was measured on. */
  dataset: z.string(),
  /** Begins with what the paper says it of, where that is something else. */
  paper: z.string(),
  measured: z.string(),
  /** {@link HOLDS}, {@link FAILS}, or why it can be neither, such as "not attempted" or "within the spread". */
  status: z.string(),
});

export type Claim = z.output<typeof claimSchema>;

export const HOLDS = "as the paper says";
export const FAILS = "otherwise";

/**
 * "The paper says, we measured, status" as a table.
 *
 * @param nameOf What a data set is called.
 */
export function claimsTable(claims: readonly Claim[], nameOf: (dataset: string) => string): Table {
  const words = (heading: string, key: "paper" | "measured"): Column<Claim> => [
    heading,
    (claim) => ({ text: claim[key], tone: "words" }),
  ];
  return tableOf(claims, [
    ["data", ({ dataset }) => nameOf(dataset)],
    words("the paper says", "paper"),
    words("measured here", "measured"),
    [
      "status",
      ({ status }) => ({ text: status, tone: status === HOLDS ? "right" : status === FAILS ? "wrong" : "open" }),
    ],
  ]);
}
