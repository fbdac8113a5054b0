import { caption, details } from "../../report/chart.ts";
import { dataFiles } from "../../report/files.ts";
import { machine } from "../../report/machine.ts";
import type { Block } from "../../report/markdown.ts";
import { decimal, exact, percent } from "../../report/numbers.ts";
import type { Headline, Report } from "../../report/report.ts";
import type { Kept, Results, Summary } from "../experiment.ts";
import { accuracyChart, classMap, toyFigure } from "./charts.ts";
import { accuracyCell, type Mean, meanOf, meansOf, ratiosOf } from "./means.ts";
import { type EepruneResult, schema } from "./schema.ts";
import {
  accuracyTable,
  briefTable,
  claimTable,
  classTable,
  costTable,
  energyWords,
  noiseTable,
  setUp,
  studyTable,
} from "./tables.ts";
import { methodName } from "./words.ts";

/** Ratios of the paper's heat maps [S]. */
const MAP_RATIOS = [0.1, 0.6];

/** Its chapter of the report. */
export function report(result: EepruneResult): Report {
  const { rows, brief, complement, places, head, noise, toy, classes } = result;
  const means = meansOf(rows);
  const energy = energyWords(result);
  const some = <T>(list: readonly unknown[], content: T): readonly T[] => (list.length === 0 ? [] : [content]);
  return {
    headline: headline(result, means),
    sections: [
      {
        id: "eeprune-accuracy",
        title: "Accuracy after training on the rest",
        about:
          "With equal epochs every kept picture is seen as often as in a training on all, so fewer samples are seen in all. The rival that is easily forgotten keeps everything and stops when it has seen as many.",
        content:
          rows.length === 0
            ? []
            : [accuracyChart(means, "Accuracy by prune ratio and method"), accuracyTable(means, "epochs")],
      },
      {
        id: "eeprune-steps",
        title: "With as many steps as the training on all",
        about: "Kept pictures are seen more often; nothing is saved but the memory for them.",
        content: some(
          rows.filter(({ budget }) => budget === "steps"),
          accuracyTable(means, "steps"),
        ),
      },
      {
        id: "eeprune-cost",
        title: "Accuracy against everything that was seen",
        content: some(rows, details(`All ${means.length} means`, costTable(result, means))),
      },
      {
        id: "eeprune-brief",
        title: "What choosing costs",
        about: "A brief run of the network with one exit on all pictures, then one pass in evaluation mode.",
        content: [...some(brief, briefTable(result)), ...(energy === "" ? [] : [caption(energy)])],
      },
      {
        id: "eeprune-paper",
        title: "The paper’s claims",
        about: "Other networks, data sets and lengths: directions are compared, not numbers.",
        content: some(rows, claimTable(result, means)),
      },
      {
        id: "eeprune-complement",
        title: "What was pruned, as a training set",
        content: some(complement, studyTable(complement, "trained on what was")),
      },
      { id: "eeprune-places", title: "Where the exit sits", content: some(places, studyTable(places, "exit")) },
      {
        id: "eeprune-head",
        title: "The exit’s head as a control",
        about: "Is it the choice, or would an exit’s loss beside the final one have helped any training?",
        content: some(head, studyTable(head, "final training")),
      },
      {
        id: "eeprune-noise",
        title: "Labels changed on purpose",
        about:
          "Who finds them after the brief run: both exits that agree against a label (all such pictures, and the surest of them, as many as were changed), the smallest areas under the margin, the most forgotten.",
        content: some(noise, noiseTable(noise)),
      },
      {
        id: "eeprune-classes",
        title: "What becomes of the classes",
        content: some(
          classes,
          MAP_RATIOS.map((ratio) => classMap(result, ratio)),
        ).flat(),
      },
      { id: "eeprune-toy", title: "What is pruned of a ring", content: some(toy, toyFigure(result)) },
    ],
    method: [
      ["Set-up", setUp(result)],
      [
        "Pruned",
        "Each method ranks the training pictures by what one brief run says; the wanted share goes. EEPrune takes those that both exits answer right, the surest at the early exit first, then, where they are too few, the surest of the others.",
      ],
      [
        "Means",
        "Over seeds, ± their standard deviation (n − 1). A seed fixes first weights and the order of the pictures for all methods.",
      ],
      ["Test pictures", "Only report: no threshold, epoch or method was chosen by them."],
    ],
    data: [result.data.name],
    files: dataFiles(result.data.files),
  };
}

function headline({ settings }: EepruneResult, means: readonly Mean[]): Headline {
  const found = [0.5, 0.3, 0.7].flatMap((ratio) => {
    const [ours, random] = ["eeprune", "random"].map((method) => meanOf(means, method, ratio));
    return ours === undefined || random === undefined
      ? []
      : [{ ratio, ours, random, whole: meanOf(means, "whole", ratio) }];
  })[0];
  if (found === undefined) return { sentence: "Which training pictures may go: nothing was measured in this run." };
  const { ratio, ours, random, whole } = found;
  const beside = whole === undefined ? "" : `, all pictures for fewer epochs ${exact(whole.mean)}`;
  return {
    sentence: `Without the ${percent(ratio)} that EEPrune finds easiest: ${exact(ours.mean)} right; without a random ${percent(ratio)} ${exact(random.mean)}${beside}.`,
    detail: `Means over ${settings.seeds} ${settings.seeds === 1 ? "seed" : "seeds"}; equal epochs.`,
  };
}

/** What the terminal shows at the end. */
export function summary(result: EepruneResult): Summary {
  const means = meansOf(result.rows);
  const full = meanOf(means, "whole", 0);
  return {
    table: accuracyTable(means, "epochs"),
    notes: [
      ...(full === undefined ? [] : [`All pictures, all epochs: ${exact(full.mean)} right.`]),
      setUp(result).replaceAll("`", ""),
    ],
  };
}

/** Under which name docs/results holds a run: one for each data set. */
const FIRST = "Fashion-MNIST";

/** What docs/results holds: no points of the toy. */
export function keep({ toy, ...result }: EepruneResult): Kept {
  const name =
    result.data.name === FIRST ? "eeprune" : `eeprune-${result.data.name.toLowerCase().replace(/[^a-z0-9]/g, "")}`;
  return { name, value: result };
}

/** Its part of docs/measured.md. */
export function measured(result: EepruneResult, results: Results): readonly Block[] {
  const others = [...results].filter(([name]) => name.startsWith("eeprune-")).map(([, json]) => schema.parse(json));
  return ["## Which training pictures may go", ...[result, ...others].flatMap(blocksOf)];
}

function blocksOf(result: EepruneResult): readonly Block[] {
  const means = meansOf(result.rows);
  const full = meanOf(means, "whole", 0);
  const section = (title: string, list: readonly unknown[], ...blocks: readonly Block[]) =>
    list.length === 0 ? [] : [`#### ${title}`, ...blocks];
  const steps = result.rows.filter(({ budget }) => budget === "steps");
  const ratios = ratiosOf(result);
  return [
    `### ${result.data.name}`,
    `${setUp(result)} ${machine(result)}.`,
    full === undefined ? "" : `All pictures for all epochs: ${textOf(full)} right. Equal epochs:`,
    accuracyTable(means, "epochs"),
    `${methodName("whole")}: everything is kept, and training stops when it has seen as many samples as the others; choosing costs it nothing. ${best(means, ratios)}`,
    ...section("With as many steps as the training on all", steps, accuracyTable(means, "steps")),
    ...section(
      "The paper’s claims",
      result.rows,
      "Other networks, data sets and lengths: directions are compared, not numbers.",
      claimTable(result, means),
    ),
    ...section("What choosing costs", result.brief, briefTable(result), energyWords(result)),
    ...section(
      "What was pruned, as a training set",
      result.complement,
      studyTable(result.complement, "trained on what was"),
    ),
    ...section("Where the exit sits", result.places, studyTable(result.places, "exit")),
    ...section("The exit’s head as a control", result.head, studyTable(result.head, "final training")),
    ...section(
      "Labels changed on purpose",
      result.noise,
      "Named by both exits that agree against a label (all such pictures, and the surest of them, as many as were changed), by the smallest areas under the margin, by the most forgotten.",
      noiseTable(result.noise),
    ),
    ...MAP_RATIOS.flatMap((ratio) =>
      section(`Pictures of each class that go, ${percent(ratio)} pruned`, result.classes, classTable(result, ratio)),
    ),
  ];
}

/** Which method is best at which ratio, in words, with its distance to a random part. */
function best(means: readonly Mean[], ratios: readonly number[]): string {
  const parts = ratios.flatMap((ratio) => {
    const own = means.filter((one) => one.ratio === ratio && one.budget === "epochs");
    const random = meanOf(means, "random", ratio);
    const [first] = [...own].sort((a, b) => b.mean - a.mean);
    if (first === undefined || random === undefined) return [];
    return [
      `at ${percent(ratio)} ${methodName(first.method)} (${decimal(100 * (first.mean - random.mean), 2)} points above random)`,
    ];
  });
  return parts.length === 0 ? "" : `Best: ${parts.join(", ")}.`;
}

function textOf(mean: Mean): string {
  const cell = accuracyCell(mean, false);
  return typeof cell === "string" ? cell : cell.text;
}
