import { z } from "zod";
import { type Table, tableOf } from "./table.ts";

/** A sentence of a paper beside what came out here. */
export const claimSchema = z.object({
  paper: z.string(),
  measured: z.string(),
  /** `within the spread`: the difference is not larger than its standard deviation over seeds. */
  status: z.enum(["as the paper says", "otherwise", "within the spread", "not attempted"]),
});

export type Claim = z.output<typeof claimSchema>;

/** "The paper says / measured here / status". */
export function claimsTable(claims: readonly Claim[]): Table {
  const tones = { "as the paper says": "right", otherwise: "wrong" } as const;
  return tableOf(claims, [
    ["the paper says", ({ paper: text }) => ({ text, tone: "words" })],
    ["measured here", ({ measured: text }) => ({ text, tone: "words" })],
    ["status", ({ status: text }) => ({ text, tone: tones[text as keyof typeof tones] ?? "open" })],
  ]);
}
