import type { Section } from "./report.ts";
import { oneEpochSection, unlimitedSection } from "./rivals-frontier.ts";
import {
  claimsSection,
  effortSection,
  perExitSection,
  posterSection,
  rivalWallSection,
  withinSection,
} from "./rivals-tables.ts";
import type { RivalsResult } from "./rivals-types.ts";

export function rivalsSections(result: RivalsResult): Section[] {
  return [
    {
      id: "one-epoch",
      title: "One pass against one epoch",
      about:
        "Every method may see the training pictures once. How much accuracy does it give for how much computation?",
      content: [oneEpochSection(result)],
    },
    {
      id: "within",
      title: "What a small loss buys",
      about: "The cheapest setting that keeps to a loss against the plain network, on the pictures that chose it.",
      content: [withinSection(result)],
    },
    {
      id: "effort",
      title: "What fitting takes",
      about: "",
      content: [effortSection(result)],
    },
    {
      id: "unlimited",
      title: "Several epochs: class distances as further inputs",
      about: "Trained exits after several epochs, alone and with the distances to the class means.",
      content: [unlimitedSection(result)],
    },
    {
      id: "exits",
      title: "Exit by exit",
      about: "How right is each exit, if all pictures leave there?",
      content: [perExitSection(result)],
    },
    {
      id: "poster",
      title: "The poster's table",
      about: "Accuracy where little may be computed, after several epochs of training.",
      content: [posterSection(result)],
    },
    {
      id: "wall",
      title: "Is less computation less time?",
      about: "The networks really stop early, against the plain network in one session.",
      content: [rivalWallSection(result)],
    },
    {
      id: "claims",
      title: "The paper, and what was measured",
      about: "",
      content: [claimsSection(result)],
    },
  ];
}
