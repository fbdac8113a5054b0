import { caption, details } from "../../report/chart.ts";
import { dataFiles, weightFiles } from "../../report/files.ts";
import { type Line, lineFigure, percentAxis, type TitledChart } from "../../report/lines.ts";
import { machine } from "../../report/machine.ts";
import type { Block } from "../../report/markdown.ts";
import { count, decimal, digits, exact, percent, points, spreadWords, times } from "../../report/numbers.ts";
import type { Headline, Report } from "../../report/report.ts";
import { backboneName, grouped } from "../../report/series.ts";
import { type Column, type Table, tableOf } from "../../report/table.ts";
import { dataWords } from "../../report/words.ts";
import { metricSeries } from "../e2cm/words.ts";
import type { Summary } from "../experiment.ts";
import type { AurocRow, OnlineRow, OpenWorldResult, RejectionRow } from "./schema.ts";
import { FULL } from "./subject.ts";

/** Held-out classes by the name of their rows, the more telling first. */
const HELD_OUT: Readonly<Record<string, string>> = {
  "held out, unseen": "classes the network has never seen",
  "held out": "classes the network was trained on",
};

const ROLES = { fresh: ["new", "var(--blue)"], old: ["old", "var(--red)"] } as const;

/** Its chapter of the report. */
export function report(result: OpenWorldResult): Report {
  const { rows, rejection, online, data, unknown, weights } = result;
  return {
    headline: headline(result),
    sections: [
      {
        id: "auroc",
        title: "Who belongs to no class?",
        about:
          "A network answers one of its classes whatever it is shown. How well does each exit tell that a picture is of none?",
        of: rows,
        content: () => [aurocFigure(rows), details(`All ${rows.length} numbers`, aurocTable(rows))],
      },
      {
        id: "rejection",
        title: "Turning pictures away",
        about: "An exit that finds a picture too far from all class means gives no class.",
        of: rejection,
        content: () => [rejectionTable(rejection), caption(rejectionWords(result))],
      },
      {
        id: "online",
        title: "New classes from a few pictures",
        about: "The mean of a few pictures makes a new class. Nothing is fitted again.",
        of: online,
        content: () => [
          onlineFigure(online),
          onlineTable(online),
          caption(
            "±: standard deviation over all pairs of held-out classes and all draws of their pictures; of “old before”, when nothing was drawn, over the pairs only.",
          ),
        ],
      },
    ],
    method: method(result),
    data: [data?.name, unknown?.name].flatMap((name) => name ?? []),
    files: [...dataFiles(data?.files), ...dataFiles(unknown?.files), ...weightFiles(weights)],
  };
}

/** How well each score does at its best exit, and what rejection catches at what price. */
function headline({ rows, rejection, online }: OpenWorldResult): Headline {
  const [first] = rows;
  if (first === undefined) return { sentence: "The open world: nothing was measured in this run." };
  const own = rows.filter((row) => row.unknown === first.unknown && row.backbone === first.backbone);
  const best = (score: string) =>
    decimal(Math.max(...own.filter((row) => row.score === score).map((row) => row.auroc)), 3);
  const ways = rejection.filter((row) => row.backbone === first.backbone && row.at === "leaving");
  const tens = online.filter((row) => row.exit === FULL && row.predictFrom === "normalised" && row.samples === 10);
  const [few] = Object.keys(HELD_OUT).flatMap((unknown) => tens.find((row) => row.unknown === unknown) ?? []);
  return {
    sentence: `Unknown pictures (${first.unknown}) are told from known ones with an AUROC of ${best("novelty")} by their distance to the class means, and of ${best("maxProbability")} by the largest probability.`,
    detail:
      "At the best exit of each; all exits are below. AUROC is the probability that an unknown picture scores higher than a known one: 0.5 is chance, 1 is never wrong.",
    facts: [
      ...ways
        .filter((row) => row.metric === "sharedCovariance")
        .map(({ by, falseRejections, unknown }) => ({
          value: unknown.map(({ rejected }) => percent(rejected)).join(", "),
          name: `of unknown pictures (${unknown.map(({ kind }) => kind).join(", ")}) turned away by ${by}, and ${percent(falseRejections, 1)} of known ones`,
        })),
      ...[few]
        .flatMap((one) => one ?? [])
        .map(({ fresh, unknown }) => ({
          value: percent(fresh.mean, 1),
          name: `of new classes’ pictures right, from 10 pictures a class: ${HELD_OUT[unknown]!}`,
        })),
    ],
  };
}

/** A chart for every network and kind of unknown picture. */
function charts<R extends Pick<AurocRow, "backbone" | "unknown">>(
  rows: readonly R[],
  chart: (own: readonly R[], title: string) => Omit<TitledChart, "title">,
): TitledChart[] {
  return grouped(rows, titleOf).map(([title, own]) => ({ title, ...chart(own, title) }));
}

function titleOf({ backbone, unknown }: Pick<AurocRow, "backbone" | "unknown">): string {
  return `${backboneName(backbone)}: ${unknown}`;
}

/** AUROC by exit. */
function aurocFigure(rows: readonly AurocRow[]) {
  return lineFigure(
    charts(rows, (own, title) => ({
      label: `${title.replace(": ", ": AUROC of unknown pictures (")}) by exit`,
      lines: grouped(own, ({ metric, score }) => `${metric} ${score}`).map(([, rows]) => aurocLine(rows)),
      x: percentAxis("MACs up to the exit", [0, 1.1]),
      y: { label: "AUROC", domain: [Math.min(0.5, ...own.map((row) => row.auroc)) - 0.02, 1], format: digits(1) },
      reference: { y: 0.5, name: "chance" },
    })),
    "Whole lines: the smallest distance to any class mean. Dashed lines: one minus the largest probability of the same exit. The pretrained networks have seen the classes that are “held out” of the means; they have not seen CIFAR-100. The networks of “held out, unseen” were trained here without the two classes. ±: standard deviation over pairs of held-out classes.",
  );
}

function aurocLine(rows: readonly AurocRow[]): Line {
  const { metric, score } = rows[0]!;
  const dashed = score !== "novelty";
  const name = `${metricSeries(metric).name}${dashed ? ", probability" : ", distance"}`;
  return {
    name,
    color: metricSeries(metric).color,
    dashed,
    points: rows.map(({ macsFraction: x, auroc: y, exit }) => ({ x, y, title: `${exit}, ${name}: ${decimal(y, 3)}` })),
  };
}

/** Both scores of every exit. */
function aurocTable(rows: readonly AurocRow[]): Table {
  const keyOf = ({ exit, metric, unknown, backbone }: AurocRow) => [exit, metric, unknown, backbone].join();
  const score = (name: string) => (row: AurocRow) => {
    const found = rows.find((one) => one.score === name && keyOf(one) === keyOf(row));
    const deviation = found?.deviation === undefined ? "" : ` ± ${decimal(found.deviation, 3)}`;
    return found && `${decimal(found.auroc, 3)}${deviation}`;
  };
  return tableOf(
    rows.filter((row) => row.score === "novelty"),
    [
      ["network, unknown pictures", ({ backbone, unknown }) => `${backboneName(backbone)}, ${unknown}`],
      ["metric", ({ metric }) => metricSeries(metric).name],
      ["exit", "exit"],
      ["MACs", "macsFraction", times],
      ["AUROC by distance", score("novelty")],
      ["by largest probability", score("maxProbability")],
    ],
  );
}

const AT: Readonly<Record<string, string>> = {
  none: "every picture is answered",
  leaving: "looked at when leaving",
  everyExit: "looked at by every exit",
};

/** What turning pictures away costs and saves. */
function rejectionTable(rows: readonly RejectionRow[]): Table {
  const kinds = (rows[0]?.unknown ?? []).flatMap(({ kind }, index): readonly Column<RejectionRow>[] => [
    [`${kind}: turned away`, ({ unknown }) => unknown[index]?.rejected, exact],
    [`${kind}: MACs`, ({ unknown }) => unknown[index]?.macsFraction, times],
  ]);
  return tableOf(rows, [
    ["network", ({ backbone }) => backboneName(backbone)],
    ["exits", ({ metric }) => metricSeries(metric).name],
    ["rejection", ({ at, by }) => ({ text: `${AT[at] ?? at}${by === null ? "" : `, by ${by}`}`, tone: "words" })],
    ["known: right", "accuracy", exact],
    ["of those answered", "answeredAccuracy", exact],
    ["known: turned away", "falseRejections", exact],
    ["known: MACs", "macsFraction", times],
    ...kinds,
    ["known: leaving at each exit", ({ leaving }) => leaving.map(({ share }) => percent(share)).join("\u00a0/\u00a0")],
  ]);
}

function rejectionWords({ rejection, settings }: OpenWorldResult): string {
  const most = settings === undefined ? "a little" : points(settings.wantedLoss);
  return `At most ${percent(1 - (settings ?? rejection[0]!).quantile)} of known pictures may be turned away. Thresholds lose at most ${most} against the plain network on the half of the test pictures that chose them, the same with and without rejection; the limits of rejection come from the same half. Reported on the other half, both ways. A picture turned away counts as wrong.`;
}

/** Accuracy on new and old classes by the number of pictures the new ones were made of. */
function onlineFigure(online: readonly OnlineRow[]) {
  return lineFigure(
    charts(
      online.filter((row) => row.exit === FULL),
      (own, title) => ({
        label: `${title.split(":")[0]}: accuracy on new and old classes by pictures of each new class`,
        lines: (["fresh", "old"] as const).flatMap((part) =>
          ["normalised", "raw"].map((rule) => onlineLine(own, part, rule)),
        ),
        x: {
          label: "pictures of each new class",
          domain: [0, Math.max(...own.map((row) => Math.log10(row.samples ?? 1)))] as const,
          format: (value: number) => (Number.isInteger(value) ? count(10 ** value) : ""),
        },
        y: percentAxis("right, last exit", [0, 1]),
      }),
    ),
    "Two of ten classes were left out of the class means and added later, without the pictures of the others. Blue: pictures of the new classes; red: of the old ones. Whole lines: nearest by normalised distance; dashed: by raw distance.",
  );
}

function onlineLine(rows: readonly OnlineRow[], part: "fresh" | "old", rule: string): Line {
  const [role, color] = ROLES[part];
  const name = `${role}, ${rule}`;
  return {
    name,
    color,
    dashed: rule === "raw",
    points: rows
      .filter((row) => row.predictFrom === rule && row.samples !== null)
      .map((row) => ({
        x: Math.log10(row.samples!),
        y: row[part].mean,
        title: `${count(row.samples!)} pictures a class, ${name}: ${spreadWords(row[part], 1)}`,
      })),
  };
}

function onlineTable(online: readonly OnlineRow[]): Table {
  return tableOf(
    online.filter((row) => row.predictFrom === "normalised"),
    [
      ["network", ({ backbone, unknown }) => `${backboneName(backbone)}, ${unknown}`],
      ["exit", "exit"],
      ["pictures of each new class", ({ samples }) => samples ?? "all, as fitted again"],
      ["new classes right", ({ fresh }) => spreadWords(fresh)],
      ["old classes right", ({ old }) => spreadWords(old)],
      ["old before", ({ before }) => spreadWords(before)],
      ["class pairs × draws", ({ seeds, draws }) => `${count(seeds)} × ${count(draws)}`],
    ],
  );
}

function pairOf({ classes }: { readonly classes: readonly string[] }): string {
  return classes.join(" and ");
}

/** What was done, in words. */
function method({ data, unknown, settings, heldOut, unseen }: OpenWorldResult): Readonly<Record<string, string>> {
  const kinds = (unknown?.kinds ?? []).map(({ kind, pictures }) => `${count(pictures)} ${kind}`).join(", ");
  const pairs = heldOut.length === 0 ? "" : ` (${heldOut.map(pairOf).join("; ")})`;
  const made =
    settings &&
    ` Means of the eight others from the first ${count(settings.heldOutPictures)} training pictures without the held-out ones; ${count(settings.draws)} draws of pictures for every number of them.`;
  const networks = unseen.length === 1 ? "one ResNet-20" : `${count(unseen.length)} networks, each a ResNet-20`;
  return {
    "Known pictures": data === undefined ? "Not recorded." : dataWords(data),
    "Unknown pictures": unknown?.name
      ? `${unknown.name}, test part: ${kinds}. Far: of superclasses without a counterpart in CIFAR-10. Near: vehicles and four-legged animals, without pickup trucks.`
      : "No other data set was there (CIFAR-100 in the data folder).",
    "Held out": `Two classes of CIFAR-10, another two for every seed${pairs}; the pretrained networks were trained on them, their class means were not.${made ?? ""}`,
    ...(unseen.length > 0 && {
      Unseen: `Two classes that the network has never seen, either: ${networks} trained here on the eight other classes only${settings?.unseen ? ` (of ${count(settings.unseen.pictures)} pictures, ${count(settings.unseen.epochs)} epochs)` : ""}. ${unseenWords(unseen)}`,
    }),
    Distance:
      "Euclidean: to the nearest class mean, divided by that mean's typical distance. Shared covariance: to the nearest class mean in the space of the exit's scores, where the covariance within classes is the identity.",
    "Turning away": `One limit for all exits together, from ranks of calibration pictures: a known picture exceeds it at any exit with a probability of at most ${settings === undefined ? "5 %" : percent(1 - settings.quantile)}, whatever the classes look like.`,
  };
}

function unseenWords(unseen: OpenWorldResult["unseen"]): string {
  const each = unseen.map((one) => `${pairOf(one)}: ${exact(one.accuracy)} right among the others`);
  return `Without ${each.join("; ")}.`;
}

/** Its part of docs/measured.md; nothing for a result that does not hold what the words below say. */
export function measured(result: OpenWorldResult): readonly Block[] {
  const { settings, rows, rejection, online } = result;
  if (settings === undefined) return [];
  const words = method(result);
  return [
    "## The open world",
    `${words["Known pictures"]} ${machine(result)}.`,
    `Unknown: ${words["Unknown pictures"]}`,
    `Held out: ${words["Held out"]}`,
    words.Unseen === undefined ? "" : `Unseen: ${words.Unseen}`,
    "AUROC of unknown against known pictures: by distance to the nearest class mean, and by one minus the exit's largest probability. ±: standard deviation over pairs of held-out classes.",
    aurocTable(rows),
    "### Turning pictures away",
    rejectionWords(result),
    rejectionTable(rejection),
    "### New classes from a few pictures",
    "Two classes added to Euclidean class means of eight, answers by normalised distance. Means and standard deviations over pairs of held-out classes and draws of their pictures; “old before”, when nothing was drawn yet, over the pairs only.",
    onlineTable(online),
  ];
}

/** What the terminal shows at the end. */
export function summary({ rows, rejection, online }: OpenWorldResult): Summary {
  return {
    table: [aurocTable(rows), rejectionTable(rejection), onlineTable(online.filter(({ exit }) => exit === FULL))],
    notes: [
      "The pretrained networks have seen all ten classes: what is held out is held out of the class means only. What is unseen is not.",
      "Thresholds that lose at most two points against the plain network on one half of the test pictures, the same with and without " +
        "rejection, reported on the other half, both ways.",
    ],
  };
}
