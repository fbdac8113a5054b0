import { pairedLoss } from "../../measuring/paired.ts";
import { details } from "../../report/chart.ts";
import { dataFiles } from "../../report/files.ts";
import { type Line, lineFigure, percentAxis } from "../../report/lines.ts";
import { busyWords, machine } from "../../report/machine.ts";
import type { Block } from "../../report/markdown.ts";
import { count, decimal, digits, exact, percent, points, times } from "../../report/numbers.ts";
import type { Headline, Report } from "../../report/report.ts";
import { backboneName } from "../../report/series.ts";
import { tableOf } from "../../report/table.ts";
import { dataWords } from "../../report/words.ts";
import type { Summary } from "../experiment.ts";
import type { CascadesResult, CascadesRow } from "./schema.ts";

type Series = readonly [name: string, color: string, of: (row: CascadesRow) => boolean];

const cascadeOf =
  (bits: number, objective: string, answer = "averaged") =>
  (row: CascadesRow) =>
    row.method === "cascade" && row.bits === bits && row.objective === objective && row.answer === answer;

const SERIES: readonly Series[] = [
  ["plain, float", "var(--ink-2)", ({ method, bits }) => method === "plain" && bits === 32],
  ["plain, 8 bits", "var(--ink)", ({ method, bits }) => method === "plain" && bits === 8],
  ["cascade, float", "var(--red)", cascadeOf(32, "macs")],
  ["cascade, 8 bits", "var(--green)", cascadeOf(8, "time64")],
  ["class means, float", "var(--blue)", ({ method, bits }) => method === "class means" && bits === 32],
  ["class means, 8 bits", "var(--purple)", ({ method, bits }) => method === "class means" && bits === 8],
  ["cascade with class means inside", "var(--gold)", ({ method }) => method === "cascade with class means"],
];

/** Its chapter of the report. */
export function report(result: CascadesResult): Report {
  const { rows, data, quantised, calibrationPictures, plain } = result;
  const timed = rows.filter(({ wallFraction }) => wallFraction !== null);
  return {
    headline: headline(result),
    sections: [
      {
        id: "accuracy-against-cost",
        title: "Accuracy against computation and time",
        about: "Smaller networks, 8 bits, and whole networks one after another: what does each buy?",
        content:
          rows.length === 0
            ? []
            : [
                lineFigure(
                  [
                    chart("Computation", rows, ({ macsFraction }) => macsFraction, "share of ResNet-56's MACs"),
                    chart(
                      "Time, batches of 64",
                      timed,
                      ({ wallFraction }) => wallFraction!,
                      "share of ResNet-56's time",
                    ),
                  ],
                  `Each point: thresholds chosen on one half of the test pictures, seen on the other, both ways.${timesWords(result)}`,
                ),
                details(`All ${rows.length} ways`, wayTable(result)),
              ],
      },
      {
        id: "latency",
        title: "A picture at a time",
        about: "Who waits for one answer feels the slowest of them.",
        content: timed.length === 0 ? [] : [latencyTable(timed)],
      },
      {
        id: "eight-bits",
        title: "What 8 bits cost",
        about: "Scales come from training pictures; nothing is trained.",
        content: quantised.length === 0 ? [] : [quantisedTable(result)],
      },
    ],
    method: [
      [
        "Data",
        `${dataWords(data)} Ranges of the 8-bit networks come from ${count(calibrationPictures)} training pictures.`,
      ],
      [
        "Choice",
        "On each half of the test pictures: a temperature for each network, then every subset of at most four, thresholds on the largest probability, the cheapest that keeps ResNet-56's accuracy less what may be lost, a standard error of room left. Seen on the other half. Class means come from training pictures, their thresholds from a half of the test pictures likewise.",
      ],
      [
        "Time",
        `Wall clock in one process, interleaved with ResNet-56 in float (${digits(3)(plain.ms64)} ms a picture in batches of 64, ${digits(3)(plain.ms1)} ms one by one). Cascades normalise pixels in the graph; plain networks are given normalised ones.`,
      ],
    ],
    files: dataFiles(data.files),
  };
}

function chart(title: string, rows: readonly CascadesRow[], x: (row: CascadesRow) => number, label: string) {
  const lines: Line[] = SERIES.map(([name, color, of]) => ({
    name,
    color,
    points: rows
      .filter(of)
      .map((row) => ({ x: x(row), y: row.accuracy, title: `${way(row)}: ${exact(row.accuracy)}, ${times(x(row))}` }))
      .sort((a, b) => a.x - b.x),
  })).filter(({ points }) => points.length > 0);
  const accuracies = rows.map(({ accuracy }) => accuracy);
  const floor = Math.floor(Math.min(...accuracies) * 50) / 50;
  return {
    title,
    label: `Accuracy against ${label}`,
    lines,
    x: percentAxis(label, [0, Math.max(1, ...rows.map(x))]),
    y: percentAxis("right answers", [floor, Math.ceil(Math.max(...accuracies) * 100) / 100]),
  };
}

function headline(result: CascadesResult): Headline {
  const { rows, plain, data } = result;
  const lossless = best(rows, plain.accuracy);
  if (lossless === undefined)
    return { sentence: "Smaller networks, 8 bits and cascades: none kept the accuracy in this run." };
  const eight = rows.find(({ method, bits, backbone }) => method === "plain" && bits === 8 && backbone === "resnet56");
  return {
    sentence: `${way(lossless)}: ${exact(lossless.accuracy)} right, as ResNet-56 (${exact(plain.accuracy)}), in ${percent(lossless.wallFraction!, 1)} of its time.`,
    detail: `Points lost, of the same ${count(data.test)} pictures: ${lostOf(result)(lossless)}. Nothing is trained. ResNet-56 alone in 8 bits: ${exact(eight!.accuracy)} in ${percent(eight!.wallFraction!, 1)} of the time.`,
    facts: [
      { value: percent(lossless.wallFraction!, 1), name: "of the time, in batches of 64" },
      { value: percent(lossless.wallFraction1!, 1), name: "of the time, one by one" },
      { value: points(lossless.accuracy - plain.accuracy), name: "more right answers" },
    ],
  };
}

/** The fastest timed way that is at least so accurate. */
function best(rows: readonly CascadesRow[], accuracy: number): CascadesRow | undefined {
  return rows
    .filter((row) => row.wallFraction !== null && row.accuracy >= accuracy)
    .sort((a, b) => a.wallFraction! - b.wallFraction!)[0];
}

/** A way to answer, in words. */
function way({ method, members, bits, answer, wantedLoss, objective }: CascadesRow): string {
  const names = members.map((name) => backboneName(name.replace(" 8-bit", "")));
  const precision = bits === 8 ? "8 bits" : "float";
  if (method === "plain") return `${names[0]}, ${precision}`;
  const lost = allowed(wantedLoss!);
  if (method === "class means") return `${names[0]}, ${precision}, class means, ${lost}`;
  const how = objective === "time1" ? ", one by one" : "";
  const inside = method === "cascade with class means" ? ", class means inside the last" : "";
  const own = answer === "own" ? ", own answers" : "";
  return `${names.join(" → ")}, ${precision}${inside}${own}${how}, ${lost}`;
}

function allowed(loss: number): string {
  if (loss === 0) return "aimed at losing nothing";
  return loss < 0 ? `aimed at gaining ${points(-loss)}` : `aimed at losing ${points(loss)}`;
}

/** What the terminal shows at the end. */
export function summary(result: CascadesResult): Summary {
  const { plain, environment } = result;
  const { loadAverage: [load = 0] = [], cores = 1 } = environment;
  const notes = [
    "MACs and time are fractions of ResNet-56 in float; thresholds from one half, seen on the other, both ways.",
  ];
  if (load > cores / 2) notes.push("The machine was busy at the start: do not quote these times.");
  return { table: wayTable(result), notes: [`ResNet-56 in float: ${exact(plain.accuracy)} right.`, ...notes] };
}

/** Of which pictures times are. */
function timesWords({ timedPictures, singles, data }: CascadesResult): string {
  if (singles === undefined) {
    return ` Times are those of the choice made on the first half, on ${count(timedPictures)} pictures of the second.`;
  }
  return ` Times in batches are of all ${count(data.test)} pictures too, one by one of the first ${count(singles / 2)} of each half; ±: 95 % interval, 1.96 standard errors of the differences picture by picture.`;
}

/** Points lost of the plain float network's right answers, with their interval where it is known. */
function lostOf({ plain, data }: CascadesResult) {
  return ({ accuracy, lostPictures, gainedPictures }: CascadesRow): string => {
    const lost = decimal(100 * (plain.accuracy - accuracy), 2);
    if (lostPictures === undefined || gainedPictures === undefined) return lost;
    return `${lost} ± ${decimal(100 * pairedLoss(lostPictures, gainedPictures, data.test).margin, 2)}`;
  };
}

function wayTable(result: CascadesResult) {
  return tableOf(result.rows, [
    ["way", (row) => ({ text: way(row), tone: "words" })],
    ["right", "accuracy", exact],
    ["points lost", lostOf(result)],
    ["MACs", "macsFraction", times],
    ["time, batch 64", "wallFraction", times],
    ["time, one by one", "wallFraction1", times],
    ["kB", ({ bytes }) => bytes / 1000, count],
  ]);
}

function latencyTable(rows: readonly CascadesRow[]) {
  return tableOf(rows, [
    ["way", (row) => ({ text: way(row), tone: "words" })],
    ["right", "accuracy", exact],
    ["p50 ms", "p50Ms", digits(2)],
    ["p95 ms", "p95Ms", digits(2)],
    ["p99 ms", "p99Ms", digits(2)],
  ]);
}

function quantisedTable({ quantised, rows }: CascadesResult) {
  const plain = (backbone: string, bits: number) =>
    rows.find((row) => row.method === "plain" && row.backbone === backbone && row.bits === bits)!;
  return tableOf(quantised, [
    ["network", ({ backbone }) => backboneName(backbone)],
    ["float right", ({ backbone }) => plain(backbone, 32).accuracy, exact],
    ["8 bits right", ({ backbone }) => plain(backbone, 8).accuracy, exact],
    [
      "time of its float self, batch 64",
      ({ backbone }) => plain(backbone, 8).wallFraction! / plain(backbone, 32).wallFraction!,
      times,
    ],
    ["one by one", ({ backbone }) => plain(backbone, 8).wallFraction1! / plain(backbone, 32).wallFraction1!, times],
    ["error of the logits", "error", digits(3)],
    ["worst layer", ({ worstLayer }) => worstLayer.error, digits(3)],
    ["as written against fused", "fusion", digits(4)],
    ["weights' bits", "weightBits"],
    ["kB before", ({ bytesBefore }) => bytesBefore / 1000, count],
    ["after", ({ bytesAfter }) => bytesAfter / 1000, count],
  ]);
}

/** Its part of docs/measured.md. */
export function measured(result: CascadesResult): readonly Block[] {
  const { rows, data, plain, calibrationPictures } = result;
  return [
    "## What to use when: smaller networks, 8 bits, cascades",
    `CIFAR-10, ${count(data.test)} test pictures, nothing trained. Fractions are of ResNet-56 in float: ${exact(plain.accuracy)} right, ${digits(3)(plain.ms64)} ms a picture in batches of 64, ${digits(3)(plain.ms1)} ms one by one. Thresholds, temperatures and members are chosen on one half of the test pictures and seen on the other, both ways.${timesWords(result)} Ranges of 8 bits from ${count(calibrationPictures)} training pictures. ${machine(result)}.${busyWords(result)}`,
    wayTable(result),
    "### A picture at a time",
    latencyTable(rows.filter(({ wallFraction }) => wallFraction !== null)),
    "### 8 bits",
    quantisedTable(result),
  ];
}

/** Its part of README.md: which to use when. */
export function readme(result: CascadesResult): readonly Block[] {
  const { rows, plain, data } = result;
  const timed = rows.filter(({ wallFraction }) => wallFraction !== null);
  const fastest = (of: (row: CascadesRow) => boolean, accuracy: number) => best(timed.filter(of), accuracy);
  const picks: (readonly [string, CascadesRow | undefined])[] = [
    [
      "one network, as it is",
      timed.find(({ method, bits, backbone }) => method === "plain" && bits === 32 && backbone === "resnet56"),
    ],
    [
      "one network, and its weights may be rounded",
      timed.find(({ method, bits, backbone }) => method === "plain" && bits === 8 && backbone === "resnet56"),
    ],
    [
      "a smaller network, and two points to lose",
      timed.find(({ method, bits, backbone }) => method === "plain" && bits === 8 && backbone === "resnet20"),
    ],
    [
      "smaller networks at hand, float",
      fastest(({ method, bits }) => method === "cascade" && bits === 32, plain.accuracy - 0.001),
    ],
    [
      "smaller networks at hand, nothing to lose",
      fastest(({ method, bits }) => method === "cascade" && bits === 8, plain.accuracy),
    ],
    [
      "the same, half a point to lose",
      fastest(({ method, bits }) => method === "cascade" && bits === 8, plain.accuracy - 0.006),
    ],
    [
      "the same, as right as can be",
      timed.filter(({ method }) => method === "cascade").sort((a, b) => b.accuracy - a.accuracy)[0],
    ],
  ];
  const shown = picks.flatMap(([when, row]) => (row === undefined ? [] : [{ when, ...row }]));
  return [
    `**Which to use when**, ResNet-56 on CIFAR-10 (${exact(plain.accuracy)} of ${count(data.test)} test pictures right) and smaller networks beside it, nothing trained; fractions of its time in float.${timesWords(result)}`,
    tableOf(shown, [
      ["what you have", "when"],
      ["use", (row) => way(row)],
      ["right", "accuracy", exact],
      ["points lost", lostOf(result)],
      ["MACs", "macsFraction", times],
      ["time, batch 64", "wallFraction", times],
      ["one by one", "wallFraction1", times],
    ]),
    `One network that may not be touched, in float: exits by class means (the table below). Data and an hour: trained exits (further below). Data and a night: train a smaller network, and join it to the large one.${busyWords(result)}`,
  ];
}
