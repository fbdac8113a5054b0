import { distinct } from "../../report/series.ts";
import type { ChoiceName } from "./schema.ts";

interface Words {
  readonly name: string;
  /** In plain words, for the footer. */
  readonly meaning: string;
}

/** How thresholds were chosen; the first is what the headline quotes. */
export const CHOICES: Readonly<Record<ChoiceName, Words>> = {
  guarded: {
    name: "guarded",
    meaning:
      "Thresholds from one half of the test pictures, so that a loss that was asked for is kept on new pictures with probability 0.9: three tenths of the half find a path of thresholds from cautious to bold, the others bound what each point of it loses, and the cheapest whose bound is within the loss is taken. Reported on the other half, both ways. The default of the package.",
  },
  aimed: {
    name: "aimed at",
    meaning:
      "The cheapest thresholds that lost at most so much on the half that chose them; reported on the other half, both ways. On new pictures they lose more about every other time.",
  },
  paper: {
    name: "as the paper chooses",
    meaning:
      "Thresholds are chosen on the same training pictures that the class means were computed from, and reported on all test pictures. The network knows these pictures by heart, so they tend to be too hopeful.",
  },
};

/** The choices of these rows, the headline's first. */
export function choicesOf(rows: readonly { readonly choice: ChoiceName }[]): ChoiceName[] {
  const there = distinct(rows.map(({ choice }) => choice));
  return (Object.keys(CHOICES) as ChoiceName[]).filter((choice) => there.includes(choice));
}
