import { distinct } from "../../report/series.ts";

interface Protocol {
  readonly name: string;
  /** In plain words, for the footer. */
  readonly meaning: string;
}

/** How thresholds were chosen; the first is the one the headline quotes. */
export const PROTOCOLS: Readonly<Record<string, Protocol>> = {
  sound: {
    name: "the sound protocol",
    meaning:
      "Thresholds are chosen on calibration pictures that are used neither for the class means nor for the reported numbers, and applied unchanged to the test pictures.",
  },
  paper: {
    name: "the paper's protocol",
    meaning:
      "As in the paper, the thresholds are chosen on the same training pictures that the class means were computed from, and applied unchanged to the test pictures. The network knows these pictures by heart, so the chosen thresholds tend to be too hopeful.",
  },
};

export function protocolName(protocol: string): string {
  return PROTOCOLS[protocol]?.name ?? protocol;
}

/** The protocols of these rows, the headline's first. */
export function protocolsOf(rows: readonly { readonly protocol: string }[]): string[] {
  const known = Object.keys(PROTOCOLS);
  return distinct([...known, ...rows.map((row) => row.protocol)]).filter((protocol) =>
    rows.some((row) => row.protocol === protocol),
  );
}
