import { claimsTable } from "../../measuring/claims.ts";
import { count, digits, exact, large, percent } from "../../report/numbers.ts";
import { distinct } from "../../report/series.ts";
import { type Table, tableOf } from "../../report/table.ts";
import { accuracyCell, type Mean, meanOf, studyMeans } from "./means.ts";
import { claimsOf } from "./paper.ts";
import type { EepruneResult, NoiseRow, StudyRow } from "./schema.ts";
import { methodName } from "./words.ts";

/** Accuracy of every method at every ratio, the best of a column in bold. */
export function accuracyTable(means: readonly Mean[], budget: string): Table {
  const own = means.filter((one) => one.budget === budget && one.ratio > 0);
  const ratios = distinct(own.map(({ ratio }) => ratio)).sort((a, b) => a - b);
  const methods = distinct(own.map(({ method }) => method));
  const bests = ratios.map((ratio) => Math.max(...own.filter((one) => one.ratio === ratio).map(({ mean }) => mean)));
  return tableOf(methods, [
    ["method", methodName],
    ...ratios.map((ratio, at): [string, (method: string) => ReturnType<typeof accuracyCell>] => [
      `${percent(ratio)} pruned`,
      (method) => {
        const found = meanOf(own, method, ratio, budget);
        return accuracyCell(found, found?.mean === bests[at]);
      },
    ]),
  ]);
}

/** Accuracy against all samples that were seen, those of choosing included. */
export function costTable(result: EepruneResult, means: readonly Mean[]): Table {
  const { data, settings } = result;
  const full = data.train * settings.epochs;
  const rows = means.filter(({ budget }) => budget === "epochs").sort((a, b) => a.ratio - b.ratio || b.mean - a.mean);
  return tableOf(rows, [
    ["method", ({ method }) => methodName(method)],
    ["pruned", "ratio", (value) => percent(value)],
    ["right", "mean", exact],
    ["samples seen in training", "samplesSeen", count],
    ["in choosing", "scoringCost", count],
    ["all, of the training on the whole set", (row) => (row.samplesSeen + row.scoringCost) / full, digits(3)],
  ]);
}

/** Studies with their spread. */
export function studyTable(rows: readonly StudyRow[], variant: string): Table {
  return tableOf(studyMeans(rows), [
    [variant, "variant"],
    ["method", ({ method }) => methodName(method)],
    ["pruned", "ratio", (value) => percent(value)],
    ["right", "mean", exact],
    ["standard deviation", ({ deviation }) => (deviation === undefined ? null : 100 * deviation), digits(2)],
    ["seeds", "seeds"],
  ]);
}

/** Who finds labels that were changed on purpose, means over seeds. */
export function noiseTable(rows: readonly NoiseRow[]): Table {
  const keys = distinct(rows.map(({ share, method }) => `${share} ${method}`));
  const means = keys.map((key) => {
    const own = rows.filter(({ share, method }) => `${share} ${method}` === key);
    const average = (of: (row: NoiseRow) => number) => own.reduce((sum, row) => sum + of(row), 0) / own.length;
    const { share, method, changed } = own[0]!;
    return {
      share,
      method,
      changed,
      flagged: average((row) => row.flagged),
      precision: average((row) => row.precision),
      recall: average((row) => row.recall),
      seeds: own.length,
    };
  });
  return tableOf(means, [
    ["labels changed", "share", (value) => percent(value)],
    ["named by", ({ method }) => methodName(method)],
    ["pictures named", "flagged", count],
    ["of them changed", "precision", exact],
    ["of the changed named", "recall", exact],
    ["seeds", "seeds"],
  ]);
}

/** What the brief runs cost, and what the exits know at their end. */
export function briefTable({ brief }: EepruneResult): Table {
  return tableOf(brief, [
    ["exit", "place"],
    ["seed", "seed"],
    ["right at the exit", "early", exact],
    ["at the end", "final", exact],
    ["at both", "both", exact],
    ["samples seen", "samplesSeen", count],
    ["multiply-accumulates", "macs", large],
    ["training\u00a0s", "trainingSeconds", digits(1)],
    ["scoring\u00a0s", "scoringSeconds", digits(1)],
    [
      "scoring, of the time",
      (run) => run.scoringSeconds / (run.scoringSeconds + run.trainingSeconds),
      (value) => percent(value, 1),
    ],
    brief.some(({ cpuSeconds }) => cpuSeconds !== undefined) && [
      "of all cores\u00a0s",
      ({ cpuSeconds }) => cpuSeconds,
      digits(1),
    ],
    brief.some(({ joules }) => joules !== undefined && joules !== null) && [
      "energy\u00a0J",
      ({ joules }) => joules ?? undefined,
      digits(0),
    ],
  ]);
}

/** Whether the energy that was used could be read, in words; nothing where a result does not say. */
export function energyWords({ brief }: EepruneResult): string {
  if (!brief.some(({ joules }) => joules !== undefined)) return "";
  return brief.some(({ joules }) => joules !== undefined && joules !== null)
    ? "Energy: of the processor's packages (RAPL), whoever used them."
    : "Energy was not measured: this machine has no meter that may be read (/sys/class/powercap).";
}

/** Pictures of each class that went, means over seeds. */
export function classTable({ classes, classSize }: EepruneResult, ratio: number): Table {
  const own = classes.filter((one) => one.ratio === ratio);
  const methods = distinct(own.map(({ method }) => method));
  return tableOf(
    [...classSize.keys()],
    [
      ["class", (k) => String(k)],
      ["pictures", (k) => classSize[k]!],
      ...methods.map((method): [string, (k: number) => number, (value: number) => string] => [
        methodName(method),
        (k) => averageOf(own, method, k),
        count,
      ]),
    ],
  );
}

/** Mean number of pictures of class k that a method pruned. */
export function averageOf(own: EepruneResult["classes"], method: string, k: number): number {
  const counts = own.filter((one) => one.method === method).map(({ pruned }) => pruned[k]!);
  return counts.reduce((sum, one) => sum + one, 0) / counts.length;
}

/** The paper's claims. */
export function claimTable(result: EepruneResult, means: readonly Mean[]): Table {
  return claimsTable(claimsOf(result, means));
}

/** What was reduced, left out, or is not the paper's, in a sentence or two. */
export function setUp(result: EepruneResult): string {
  const { data, settings } = result;
  const { network, epochs, briefEpochs, batch, seeds, reduced, leftOut } = settings;
  const parts = [
    `${data.name}: ${count(data.train)} training and ${count(data.test)} test pictures; ${network}, ${large(settings.macs)} multiply-accumulates a picture`,
    `batches of ${batch}, one cycle of the learning rate; ${epochs} epochs to train, ${briefEpochs} to choose; ${seeds} ${seeds === 1 ? "seed" : "seeds"}, the same first weights for all methods of a seed`,
  ];
  const notes = [
    reduced
      ? "Reduced (`--reduced`) to what two busy cores do in an hour: a part of the pictures, a small network, few epochs, one run of each score"
      : "",
    leftOut > 0 ? `${leftOut} trainings were left out for want of time (\`--minutes\`)` : "",
    "the paper trains MobileNetV3-large and larger networks for 200 epochs",
  ].filter((note) => note !== "");
  return `${parts.join("; ")}. ${notes.map((note, at) => (at === 0 ? note.charAt(0).toUpperCase() + note.slice(1) : note)).join("; ")}.`;
}
