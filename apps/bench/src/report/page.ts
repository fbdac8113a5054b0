import { clusteringCurveSection, layersSection, paperSection, runsSection } from "./clustering.ts";
import { confusionSection } from "./confusion.ts";
import { depthSection } from "./depth.ts";
import { examplesSection } from "./examples.ts";
import { fittingSection } from "./fitting.ts";
import { frontierSection } from "./frontier.ts";
import { type Headline, headline } from "./headline.ts";
import { type Html, html, raw } from "./html.ts";
import { measuredSection } from "./measured.ts";
import { aurocSection, onlineSection, rejectionSection } from "./open-world.ts";
import { overheadSection } from "./overhead.ts";
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
import { STYLE } from "./style.ts";
import { curveSection, seedsSection, throughputSection } from "./training.ts";
import type {
  ClusteringResult,
  E2cmCifar10Result,
  OpenWorldResult,
  ReportResult,
  StagedOverheadResult,
  TrainCifar10Result,
  TrainStepResult,
} from "./types.ts";
import { variantsSection } from "./variants.ts";

interface Section {
  readonly id: string;
  readonly title: string;
  readonly about: string;
  readonly content: Html;
}

const TITLES: Readonly<Record<ReportResult["experiment"], string>> = {
  "e2cm-cifar10": "E²CM on CIFAR-10",
  "e2cm-clustering": "E²CM without labels",
  "open-world": "The open world",
  "e2cm-rivals": "E²CM against trained exits",
  "staged-overhead": "What staging costs",
  "train-cifar10": "Training from scratch",
  "train-step": "The speed of training",
};

/** The whole report as one self-contained HTML page. */
export function page(results: readonly ReportResult[]): string {
  const [first, ...others] = results.map((result, index) => ({
    result,
    id: `run-${index + 1}`,
    lead: headline(result),
    sections: sectionsOf(result, index === 0 ? "" : `${index + 1}-`),
  }));
  if (first === undefined)
    return document("Nothing measured yet", html`<header><h1>Nothing measured yet</h1></header>`);
  const missing = (Object.keys(TITLES) as ReportResult["experiment"][]).filter(
    (experiment) => !results.some((result) => result.experiment === experiment),
  );
  const contents = [
    ...first.sections,
    ...others.map(({ result, id }) => ({ id, title: TITLES[result.experiment] })),
    ...missing.map(notRun),
  ];
  const body = html`<header>${opening(first.result, "h1", first.lead)}</header>
<nav aria-label="Contents"><ul>${contents.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}</ul></nav>
<main>
${first.sections.map(sectionHtml)}
${others.map(
  ({ result, id, lead, sections }) =>
    html`<div class="chapter" id="${id}">${opening(result, "h2", lead)}${sections.map(sectionHtml)}</div>\n`,
)}
${missing.map((experiment) => sectionHtml(notRun(experiment)))}
</main>
<footer>Written by exitkit bench. This page needs no network and holds no script.</footer>`;
  return document(TITLES[first.result.experiment], body);
}

function document(title: string, body: Html): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<style>${raw(STYLE)}</style>
</head>
<body>
${body}
</body>
</html>
`.html;
}

function opening(result: ReportResult, tag: "h1" | "h2", { sentence, detail, met, goal, facts }: Headline): Html {
  return html`<p class="kicker">${TITLES[result.experiment]} · ${result.preset} · seed ${result.seed} · ${result.device}</p>
<${raw(tag)}>${sentence.replace(/-(?=\d)/g, "\u2011")}</${raw(tag)}>
${met === undefined ? null : html`<p class="goal ${met ? "met" : "missed"}">${met ? "✓ Goal met" : "✗ Goal not met"}: ${goal}</p>`}
${detail === "" ? null : html`<p class="lede">${detail}</p>`}
${facts.length === 0 ? null : html`<ul class="numbers">${facts.map(({ value, name }) => html`<li><b>${value}</b><span>${name}</span></li>`)}</ul>`}`;
}

function sectionHtml({ id, title, about, content }: Section): Html {
  return html`<section id="${id}">
<h2>${title}</h2>
${about === "" ? null : html`<p>${about}</p>`}
${content}
</section>
`;
}

function sectionsOf(result: ReportResult, prefix: string): Section[] {
  const sections = ownSections(result);
  const measured = {
    id: "measured",
    title: "How this was measured",
    about: "",
    content: measuredSection(result),
  };
  return [...sections, measured].map((section) => ({ ...section, id: `${prefix}${section.id}` }));
}

function ownSections(result: ReportResult): Section[] {
  switch (result.experiment) {
    case "e2cm-cifar10":
      return e2cmSections(result);
    case "e2cm-clustering":
      return clusteringSections(result);
    case "open-world":
      return openWorldSections(result);
    case "e2cm-rivals":
      return rivalsSections(result);
    case "staged-overhead":
      return stagedSections(result);
    case "train-cifar10":
      return trainCifar10Sections(result);
    case "train-step":
      return trainStepSections(result);
  }
}

function e2cmSections(result: E2cmCifar10Result): Section[] {
  return [
    {
      id: "frontier",
      title: "Accuracy for computation",
      about: "Pictures that are easy leave the network early. How much accuracy is left for how much computation?",
      content: frontierSection(result),
    },
    {
      id: "rules",
      title: "The distance rules side by side",
      about: "A rule turns distances to the class means into a confidence. These are the costs each rule needs.",
      content: rulesSection(result),
    },
    {
      id: "depth",
      title: "What each exit knows",
      about: "How good would the answers be if every picture left at the same exit?",
      content: depthSection(result),
    },
    {
      id: "shares",
      title: "Where pictures leave",
      about: "At each operating point, the share of the test pictures that leaves at each exit.",
      content: sharesSection(result),
    },
    {
      id: "confusion",
      title: "What is mistaken for what",
      about: "Which classes does each exit tell apart, and which does it still mix up?",
      content: confusionSection(result),
    },
    {
      id: "speed",
      title: "Is less computation less time?",
      about: "Multiply-accumulates are counted, time is measured.",
      content: speedSection(result),
    },
    {
      id: "variants",
      title: "Cheaper exits",
      about: "Pooled features and 8-bit means make the exits lighter. What do they lose?",
      content: variantsSection(result),
    },
    { id: "fitting", title: "How long fitting takes", about: "", content: fittingSection(result) },
    {
      id: "examples",
      title: "Easy and hard pictures",
      about: "Test pictures at three times their size.",
      content: examplesSection(result),
    },
  ];
}

function clusteringSections(result: ClusteringResult): Section[] {
  return [
    {
      id: "curve",
      title: "Clustering accuracy for computation",
      about:
        "Pictures whose cluster is clear after a layer or two leave there. How good are the clusters for how much computation?",
      content: clusteringCurveSection(result),
    },
    {
      id: "paper",
      title: "Beside the paper",
      about: "The means over runs, where the paper's figure has its guide lines.",
      content: paperSection(result),
    },
    {
      id: "layers",
      title: "What each layer knows",
      about: "How good would the clusters be if every picture left after the same layer? Means over the runs.",
      content: layersSection(result),
    },
    {
      id: "runs",
      title: "Every run",
      about: "A run begins with other weights, other k-means starts and another order of the pictures.",
      content: runsSection(result),
    },
  ];
}

function openWorldSections(result: OpenWorldResult): Section[] {
  return [
    {
      id: "auroc",
      title: "Who belongs to no class?",
      about:
        "A network answers one of its classes whatever it is shown. How well does each exit tell that a picture is of none?",
      content: aurocSection(result),
    },
    {
      id: "rejection",
      title: "Turning pictures away",
      about: "An exit that finds a picture too far from all class means gives no class.",
      content: rejectionSection(result),
    },
    {
      id: "online",
      title: "New classes from a few pictures",
      about: "The mean of a few pictures makes a new class. Nothing is fitted again.",
      content: onlineSection(result),
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
      content: oneEpochSection(result),
    },
    {
      id: "within",
      title: "What a small loss buys",
      about: "The cheapest setting that keeps to a loss against the plain network, on the pictures that chose it.",
      content: withinSection(result),
    },
    {
      id: "effort",
      title: "What fitting takes",
      about: "",
      content: effortSection(result),
    },
    {
      id: "unlimited",
      title: "Several epochs: class distances as further inputs",
      about: "Trained exits after several epochs, alone and with the distances to the class means.",
      content: unlimitedSection(result),
    },
    {
      id: "exits",
      title: "Exit by exit",
      about: "How right is each exit, if all pictures leave there?",
      content: perExitSection(result),
    },
    {
      id: "poster",
      title: "The poster's table",
      about: "Accuracy where little may be computed, after several epochs of training.",
      content: posterSection(result),
    },
    {
      id: "wall",
      title: "Is less computation less time?",
      about: "The networks really stop early, against the plain network in one session.",
      content: rivalWallSection(result),
    },
    {
      id: "claims",
      title: "The paper, and what was measured",
      about: "",
      content: claimsSection(result),
    },
  ];
}

function stagedSections(result: StagedOverheadResult): Section[] {
  return [
    {
      id: "overhead",
      title: "Time against computation, in stages",
      about: "A network that can stop early runs in stages. What do the cuts between them cost?",
      content: overheadSection(result),
    },
  ];
}

function trainCifar10Sections(result: TrainCifar10Result): Section[] {
  return [
    {
      id: "curve",
      title: "Learning, epoch by epoch",
      about:
        "The network begins with random weights. How fast does it learn, and does it learn more than the pictures by heart?",
      content: curveSection(result),
    },
    {
      id: "seeds",
      title: "What came out",
      about: "Every seed begins with other weights and sees the pictures in another order.",
      content: seedsSection(result),
    },
  ];
}

function trainStepSections(result: TrainStepResult): Section[] {
  return [
    {
      id: "throughput",
      title: "How much is computed a second",
      about: "A step is the forward pass, the gradients and the optimiser's update, as one program.",
      content: throughputSection(result),
    },
  ];
}

function notRun(experiment: ReportResult["experiment"]): Section {
  const content = html`<p class="none">Not measured in this run. To measure it: <code>bench run ${experiment}</code></p>`;
  return { id: `missing-${experiment}`, title: TITLES[experiment], about: "", content };
}
