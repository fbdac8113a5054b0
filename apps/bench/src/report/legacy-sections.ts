import { confusionSection } from "./confusion.ts";
import { depthSection } from "./depth.ts";
import { examplesSection } from "./examples.ts";
import { fittingSection } from "./fitting.ts";
import { frontierSection } from "./frontier.ts";
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
import { rulesSection } from "./rules.ts";
import { sharesSection } from "./shares.ts";
import { speedSection } from "./speed.ts";
import type { E2cmCifar10Result, ReportResult } from "./types.ts";
import { variantsSection } from "./variants.ts";

export function ownSections(result: ReportResult): Section[] {
  switch (result.experiment) {
    case "e2cm-cifar10":
      return e2cmSections(result);
    case "e2cm-rivals":
      return rivalsSections(result);
  }
}

function e2cmSections(result: E2cmCifar10Result): Section[] {
  return [
    {
      id: "frontier",
      title: "Accuracy for computation",
      about: "Pictures that are easy leave the network early. How much accuracy is left for how much computation?",
      content: [frontierSection(result)],
    },
    {
      id: "rules",
      title: "The distance rules side by side",
      about: "A rule turns distances to the class means into a confidence. These are the costs each rule needs.",
      content: [rulesSection(result)],
    },
    {
      id: "depth",
      title: "What each exit knows",
      about: "How good would the answers be if every picture left at the same exit?",
      content: [depthSection(result)],
    },
    {
      id: "shares",
      title: "Where pictures leave",
      about: "At each operating point, the share of the test pictures that leaves at each exit.",
      content: [sharesSection(result)],
    },
    {
      id: "confusion",
      title: "What is mistaken for what",
      about: "Which classes does each exit tell apart, and which does it still mix up?",
      content: [confusionSection(result)],
    },
    {
      id: "speed",
      title: "Is less computation less time?",
      about: "Multiply-accumulates are counted, time is measured.",
      content: [speedSection(result)],
    },
    {
      id: "variants",
      title: "Cheaper exits",
      about: "Pooled features and 8-bit means make the exits lighter. What do they lose?",
      content: [variantsSection(result)],
    },
    { id: "fitting", title: "How long fitting takes", about: "", content: [fittingSection(result)] },
    {
      id: "examples",
      title: "Easy and hard pictures",
      about: "Test pictures at three times their size.",
      content: [examplesSection(result)],
    },
  ];
}

function rivalsSections(result: RivalsResult): Section[] {
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
