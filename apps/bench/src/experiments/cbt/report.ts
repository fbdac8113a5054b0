import { CAMVID } from "../../data/segmentation.ts";
import { claimsTable } from "../../measuring/claims.ts";
import { caption, figure } from "../../report/chart.ts";
import { type Html, html } from "../../report/html.ts";
import { type Line, lineFigure, percentAxis } from "../../report/lines.ts";
import { machine } from "../../report/machine.ts";
import type { Block } from "../../report/markdown.ts";
import { count, decimal, digits, exact, percent, points, times } from "../../report/numbers.ts";
import type { Headline, Report } from "../../report/report.ts";
import { distinct } from "../../report/series.ts";
import { type Column, type Table, tableOf } from "../../report/table.ts";
import type { Kept, Summary } from "../experiment.ts";
import { macsAt } from "./claims.ts";
import { rankCorrelation } from "./paper.ts";
import type { CbtPicture, CbtResult, CbtRow } from "./schema.ts";

/** The networks of a result, in order. */
function networksOf({ rows }: CbtResult): readonly string[] {
  return distinct(rows.map(({ network }) => network));
}

const of = <T extends { readonly network: string }>(rows: readonly T[], network: string): readonly T[] =>
  rows.filter((row) => row.network === network);

/** Its chapter of the report. */
export function report(result: CbtResult): Report {
  const { claims, goals, groups, calibrated } = result;
  const each = (content: (network: string) => readonly (Html | Table)[]) => networksOf(result).flatMap(content);
  return {
    headline: headline(result),
    sections: [
      {
        id: "cbt-pictures",
        title: "Where each pixel stopped",
        about: "The frame, its labels, the answer, and the exit each pixel stopped at: the darker, the later.",
        content: each((network) => of(result.pictures, network).map(card)),
      },
      {
        id: "cbt-frontier",
        title: "Mean IoU against computation and time",
        about:
          "MACs are those of the masks that occurred, exits and predictions included; time is one frame after another.",
        content: each((network) => [frontier(of(result.rows, network)), rowsTable(of(result.rows, network))]),
      },
      {
        id: "cbt-goals",
        title: "What was wanted",
        about: "Thresholds of classes and exits against the plain network, one threshold and thresholds from a range.",
        content: goals.length === 0 ? [] : [goalsTable(result)],
      },
      {
        id: "cbt-exits",
        title: "Every exit alone",
        about: "If all pixels stopped there.",
        content: result.exits.length === 0 ? [] : [exitsTable(result)],
      },
      {
        id: "cbt-classes",
        title: "The classes' thresholds beside the paper's",
        about: `From [${result.range.join(", ")}].`,
        content: each((network) => [caption(correlationWords(result, network)), classesTable(result, network)]),
      },
      {
        id: "cbt-groups",
        title: "Dusk and day",
        about:
          "Thresholds from all training frames, or from those of the same light: sequence 0001TP was taken at dusk.",
        content: groups.length === 0 ? [] : [groupsTable(result)],
      },
      {
        id: "cbt-calibrated",
        title: "A promise for frames to come",
        about:
          "One threshold whose share of changed pixels is bounded: half of the test frames choose, the others report.",
        content: calibrated.length === 0 ? [] : [calibratedTable(result)],
      },
      { id: "cbt-claims", title: "The paper and this run", content: claims.length === 0 ? [] : [claimsTable(claims)] },
    ],
    method: [
      [
        "Networks",
        "Compact HR was trained here, with masks, its work behind its exits. ESPNet is as its authors trained it and never saw a mask; its exits are class means with a shared covariance, from one pass over training frames.",
      ],
      [
        "Done pixels",
        "Their logits are copied; what their neighbours look at is what compact HR kept of them, or in ESPNet predicted by linear maps from the features at the exit before.",
      ],
      [
        "Solved",
        "A threshold for each class at each exit, chosen on one test sequence and used on the other, both ways.",
      ],
      ["Time", "Frames one by one, all ways in turn; the median of the ratios to the plain network of the same round."],
    ],
  };
}

function headline(result: CbtResult): Headline {
  const [network] = networksOf(result);
  const rows = of(result.rows, network ?? "");
  const plain = rows.find(({ method }) => method === "plain");
  const near = rows
    .filter((row) => row.method !== "plain" && plain !== undefined && row.miou >= plain.miou - 0.005)
    .toSorted((a, b) => (a.wallFraction ?? a.macsFraction) - (b.wallFraction ?? b.macsFraction))[0];
  const cheap = rows.filter(({ method }) => method !== "plain").toSorted((a, b) => b.miou - a.miou)[0];
  const shown = near ?? cheap;
  if (plain === undefined || shown === undefined)
    return { sentence: "Segmentation with exits: nothing was measured in this run." };
  const goal = {
    text: "at most 0.60 of the time at a loss of 0.5 points",
    met: near !== undefined && (near.wallFraction ?? 1) <= 0.6,
  };
  return {
    sentence: `${network}, stopping pixel by pixel, takes ${times(shown.macsFraction)} of its MACs${shown.wallFraction === null ? "" : ` and ${times(shown.wallFraction)} of its time`} and loses ${points(plain.miou - shown.miou)} of mean IoU (${count(result.data.test)} frames of CamVid).`,
    detail: near === undefined ? "No setting lost half a point or less; this is the one that lost least." : name(near),
    goal,
  };
}

function name({ method, alpha, beta }: CbtRow): string {
  if (method === "cbt") return `thresholds of classes, [${alpha}, ${beta}]`;
  if (method === "one threshold") return `one threshold, ${alpha}`;
  return method === "solved" ? "thresholds of classes and exits, solved" : "the plain network";
}

function rowsTable(rows: readonly CbtRow[]): Table {
  const singlesOf = (network: string) => of(rows, network).filter(({ method }) => method === "one threshold");
  const networks = distinct(rows.map(({ network }) => network));
  return tableOf(rows, [
    networks.length > 1 && ["network", "network"],
    ["thresholds", name],
    ["mean IoU", "miou", exact],
    ["pixels right", "pixelAccuracy", exact],
    ["MACs", "macsFraction", times],
    [
      "one threshold at that mean IoU",
      ({ method, miou, network }) => (method === "plain" ? null : macsAt(singlesOf(network), miou)),
      times,
    ],
    ["time", "wallFraction", times],
    ["ms a frame", "ms", digits(1)],
    ["stages", "execution"],
    ["stopped at each exit", ({ stopped }) => stopped.map((share) => percent(share)).join(" / ")],
  ]);
}

function exitsTable({ exits }: CbtResult): Table {
  return tableOf(exits, [
    ["network", "network"],
    ["exit", "place"],
    ["mean IoU", "miou", exact],
    ["pixels right", "pixelAccuracy", exact],
  ]);
}

function goalsTable({ goals }: CbtResult): Table {
  return tableOf(goals, [
    ["network", "network"],
    ["wanted", (row) => ({ text: row.goal, tone: "words" })],
    ["measured", (row) => ({ text: row.measured, tone: "words" })],
    ["", ({ met }) => (met ? "met" : "missed")],
  ]);
}

function groupsTable({ groups }: CbtResult): Table {
  return tableOf(groups, [
    ["network", "network"],
    ["frames", ({ group, frames }) => `${group}, ${count(frames)}`],
    ["thresholds from", "from"],
    ["mean IoU", "miou", exact],
    ["MACs", "macsFraction", times],
    ...CAMVID.classNames.map(
      (label, c): Column<CbtResult["groups"][number]> => [label, ({ thresholds }) => thresholds[c]!, digits(3)],
    ),
  ]);
}

function calibratedTable({ calibrated }: CbtResult): Table {
  return tableOf(calibrated, [
    ["network", "network"],
    ["changed pixels at most", "maxRisk", exact],
    ["with probability", ({ delta }) => 1 - delta, digits(2)],
    ["frames that chose", "frames"],
    ["threshold", ({ threshold }) => threshold ?? "none passed"],
    ["changed there", "seen", exact],
    ["on the others", "others", exact],
    ["mean IoU lost on the others", "othersLoss", exact],
    ["MACs", "macsFraction", times],
  ]);
}

function correlationWords({ classes }: CbtResult, network: string): string {
  const own = of(classes, network);
  const value = rankCorrelation(
    own.map(({ threshold }) => threshold),
    own.map(({ paper }) => paper),
  );
  return `${network}: rank correlation with the paper's ${decimal(value, 2)}.`;
}

function classesTable({ classes }: CbtResult, network: string): Table {
  return tableOf(
    of(classes, network).toSorted((a, b) => a.threshold - b.threshold),
    [
      ["class", "name"],
      ["threshold", "threshold", digits(3)],
      ["the paper's (Cityscapes)", "paper", digits(3)],
      ["largest − second mean probability", "ease", digits(3)],
      ["IoU, plain network", "iou", exact],
    ],
  );
}

const SERIES = [
  ["one threshold", "var(--red)"],
  ["cbt", "var(--blue)"],
  ["solved", "var(--green)"],
] as const;

function frontier(rows: readonly CbtRow[]): Html {
  const plain = rows.find(({ method }) => method === "plain");
  const lines = (x: (row: CbtRow) => number | null): Line[] =>
    SERIES.map(([method, color]) => ({
      name: method === "cbt" ? "CBT" : method,
      color,
      points: rows
        .filter((row) => row.method === method && x(row) !== null)
        .toSorted((a, b) => x(a)! - x(b)!)
        .map((row) => ({ x: x(row)!, y: row.miou, title: `${name(row)}: ${percent(row.miou, 1)}` })),
    })).filter(({ points: own }) => own.length > 0);
  const all = rows.map(({ miou }) => miou);
  const y = percentAxis("mean IoU", [Math.floor(Math.min(...all) * 50) / 50, Math.ceil(Math.max(...all) * 50) / 50]);
  const axis = (label: string, values: readonly number[]) =>
    percentAxis(label, [Math.floor(Math.min(...values, 1) * 10) / 10, Math.ceil(Math.max(...values, 1) * 10) / 10]);
  const reference = plain === undefined ? undefined : { y: plain.miou, name: "plain network" };
  const walls = rows.map(({ wallFraction }) => wallFraction).filter((value) => value !== null);
  const shared = { y, reference };
  return lineFigure(
    [
      {
        ...shared,
        title: "Computation",
        label: "Mean IoU against MACs, a line for each way to choose thresholds",
        lines: lines(({ macsFraction }) => macsFraction),
        x: axis(
          "MACs of the plain network",
          rows.map(({ macsFraction }) => macsFraction),
        ),
      },
      {
        ...shared,
        title: "Time",
        label: "Mean IoU against time a frame, a line for each way to choose thresholds",
        lines: lines(({ wallFraction }) => wallFraction),
        x: axis("time of the plain network", walls),
      },
    ],
    "Thresholds on test frames; the further left and up, the better.",
  );
}

function card({ network, name: title, frame, labels, answer, stopped, shares }: CbtPicture): Html {
  const shown = [
    [frame, "the frame"],
    [labels, "its labels"],
    [answer, "the answer"],
    [stopped, "where each pixel stopped"],
  ] as const;
  return figure(
    html`<div class="strip">${shown.map(([uri, words]) => html`<div><img src="${uri}" width="220" height="165" alt="${words}"><small>${words}</small></div>`)}</div>`,
    `${network}, ${title}: ${shares.map((share, exit) => `${percent(share)} ${exit === shares.length - 1 ? "to the end" : `at exit ${exit + 1}`}`).join(", ")}.`,
  );
}

/** What the terminal shows at the end. */
export function summary({ rows }: CbtResult): Summary {
  return { table: rowsTable(rows), notes: ["MACs and time are fractions of the plain network's."] };
}

function aboutNetwork(network: string): string {
  if (network === "ESPNet") return "ESPNet is pretrained, with exits without training and predicted carries.";
  return "Compact HR was trained here for this, with masks.";
}

/** Its part of docs/measured.md. */
export function measured(result: CbtResult): readonly Block[] {
  const { data, rows, claims, groups, calibrated } = result;
  return [
    "## Segmentation that stops pixel by pixel",
    `${networksOf(result).join(" and ")} on ${data.name}: ${count(data.train)} training frames, ${count(data.test)} test frames, ${count(data.timed)} of them timed one by one. ${networksOf(result).map(aboutNetwork).join(" ")} ${machine(result)}.`,
    rowsTable(rows),
    ...(result.goals.length === 0 ? [] : ["What was wanted:", goalsTable(result)]),
    "Every exit alone:",
    exitsTable(result),
    ...networksOf(result).flatMap((network) => [
      `Thresholds of the classes from [${result.range.join(", ")}] beside the paper's on Cityscapes. ${correlationWords(result, network)}`,
      classesTable(result, network),
    ]),
    ...(groups.length === 0 ? [] : ["Thresholds of dusk (sequence 0001TP) and day:", groupsTable(result)]),
    ...(calibrated.length === 0
      ? []
      : ["One threshold with a bounded share of changed pixels:", calibratedTable(result)]),
    claimsTable(claims),
  ];
}

/** Without the pictures: the frames' licence is another. */
export function keep(result: CbtResult): Kept {
  return { value: { ...result, pictures: [] } };
}

/** What must hold of the quick preset. */
export function check({ rows, exits, data }: CbtResult): string {
  const plain = rows.find(({ method }) => method === "plain");
  if (plain === undefined || plain.miou < 0.25)
    throw new Error(`cbt: the trained network must reach a mean IoU of .25, got ${plain?.miou}`);
  if (!(exits[0]!.miou > 0.2)) throw new Error(`cbt: exit 1 has a mean IoU of ${exits[0]!.miou}`);
  // MACs depend on where the machine finds stages cheaper in one piece; which pixels stop does not.
  const first = Math.max(...rows.map(({ stopped }) => stopped[0]!));
  if (!(first > 0.4)) throw new Error(`cbt: no setting stops two fifths of the pixels at exit 1; at most ${first}`);
  const cheap = Math.min(...rows.map(({ macsFraction }) => macsFraction));
  return `cbt: mean IoU ${decimal(plain.miou, 3)} of ${data.test} frames, cheapest setting ${decimal(cheap, 3)} of its MACs`;
}
