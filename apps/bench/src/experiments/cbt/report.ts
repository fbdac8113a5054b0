import { claimsTable } from "../../measuring/claims.ts";
import { figure } from "../../report/chart.ts";
import { type Html, html } from "../../report/html.ts";
import { type Line, lineFigure, percentAxis } from "../../report/lines.ts";
import { machine } from "../../report/machine.ts";
import type { Block } from "../../report/markdown.ts";
import { count, decimal, digits, exact, percent, points, times } from "../../report/numbers.ts";
import type { Headline, Report } from "../../report/report.ts";
import { type Table, tableOf } from "../../report/table.ts";
import type { Kept, Summary } from "../experiment.ts";
import { macsAt } from "./claims.ts";
import type { CbtPicture, CbtResult, CbtRow } from "./schema.ts";

/** Its chapter of the report. */
export function report(result: CbtResult): Report {
  const { rows, exits, classes, claims, pictures } = result;
  return {
    headline: headline(result),
    sections: [
      {
        id: "cbt-pictures",
        title: "Where each pixel stopped",
        about: "The frame, its labels, the answer, and the exit each pixel stopped at: the darker, the later.",
        content: pictures.map(card),
      },
      {
        id: "cbt-frontier",
        title: "Mean IoU against computation and time",
        about:
          "MACs are those of the masks that occurred, exits and predictions included; time is one frame after another.",
        content: rows.length === 0 ? [] : [frontier(result), rowsTable(rows)],
      },
      {
        id: "cbt-exits",
        title: "Every exit alone",
        about:
          "If all pixels stopped there. Exits are class means with a shared covariance, from one pass over the training frames.",
        content: exits.length === 0 ? [] : [exitsTable(result)],
      },
      {
        id: "cbt-classes",
        title: "The classes' thresholds beside the paper's",
        about: `From [${result.range.join(", ")}]; rank correlation ${decimal(result.rankCorrelation, 2)}.`,
        content: classes.length === 0 ? [] : [classesTable(result)],
      },
      { id: "cbt-claims", title: "The paper and this run", content: claims.length === 0 ? [] : [claimsTable(claims)] },
    ],
    method: [
      [
        "Network",
        "ESPNet as its authors trained it on CamVid, in four stages; it never saw a mask. Nothing was trained here.",
      ],
      [
        "Done pixels",
        "Their logits are copied; what their neighbours look at is predicted by linear maps from the features at the exit before.",
      ],
      [
        "Solved",
        "A threshold for each class at each exit, chosen on one test sequence and used on the other, both ways.",
      ],
      ["Time", "Frames one by one, all ways in turn; the median of the ratios to the plain network of the same round."],
    ],
  };
}

function headline({ rows, data }: CbtResult): Headline {
  const plain = rows.find(({ method }) => method === "plain");
  const near = rows
    .filter((row) => row.method !== "plain" && plain !== undefined && row.miou >= plain.miou - 0.005)
    .toSorted((a, b) => a.macsFraction - b.macsFraction)[0];
  const cheap = rows.filter(({ method }) => method !== "plain").toSorted((a, b) => b.miou - a.miou)[0];
  const shown = near ?? cheap;
  if (plain === undefined || shown === undefined)
    return { sentence: "Segmentation with exits: nothing was measured in this run." };
  const goal = {
    text: "at most 0.60 of the time at a loss of 0.5 points",
    met: near !== undefined && (near.wallFraction ?? 1) <= 0.6,
  };
  return {
    sentence: `A pretrained ESPNet that stops pixel by pixel, without training, takes ${times(shown.macsFraction)} of its MACs${shown.wallFraction === null ? "" : ` and ${times(shown.wallFraction)} of its time`} and loses ${points(plain.miou - shown.miou)} of mean IoU (${count(data.test)} frames of CamVid).`,
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
  const singles = rows.filter(({ method }) => method === "one threshold");
  return tableOf(rows, [
    ["thresholds", name],
    ["mean IoU", "miou", exact],
    ["pixels right", "pixelAccuracy", exact],
    ["MACs", "macsFraction", times],
    [
      "one threshold at that mean IoU",
      ({ method, miou }) => (method === "plain" ? null : macsAt(singles, miou)),
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
    ["exit", "place"],
    ["mean IoU", "miou", exact],
    ["pixels right", "pixelAccuracy", exact],
  ]);
}

function classesTable({ classes }: CbtResult): Table {
  return tableOf(
    classes.toSorted((a, b) => a.threshold - b.threshold),
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

function frontier({ rows }: CbtResult): Html {
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

function card({ name: title, frame, labels, answer, stopped, shares }: CbtPicture): Html {
  const one = (uri: string, alt: string) => html`<img src="${uri}" width="220" height="165" alt="${alt}">`;
  return figure(
    html`<div class="pair">${[one(frame, "frame"), one(labels, "labels"), one(answer, "answer"), one(stopped, "where each pixel stopped")]}</div>`,
    `${title}: ${shares.map((share, exit) => `${percent(share)} ${exit === shares.length - 1 ? "to the end" : `at exit ${exit + 1}`}`).join(", ")}.`,
  );
}

/** What the terminal shows at the end. */
export function summary({ rows }: CbtResult): Summary {
  return { table: rowsTable(rows), notes: ["MACs and time are fractions of the plain network's."] };
}

/** Its part of docs/measured.md. */
export function measured(result: CbtResult): readonly Block[] {
  const { data, rows, rankCorrelation: correlation, claims } = result;
  return [
    "## Segmentation that stops pixel by pixel",
    `Pretrained ESPNet on ${data.name}: exits without training and predicted carries from ${count(data.train)} training frames, ${count(data.test)} test frames, ${count(data.timed)} of them timed one by one. ${machine(result)}.`,
    rowsTable(rows),
    "Every exit alone:",
    exitsTable(result),
    `Thresholds of the classes from [${result.range.join(", ")}] beside the paper's on Cityscapes, rank correlation ${decimal(correlation, 2)}:`,
    classesTable(result),
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
  if (plain === undefined || plain.miou < 0.5)
    throw new Error(`cbt: ESPNet must reach a mean IoU of .5, got ${plain?.miou}`);
  const [first, last] = [exits[0]!, exits.at(-1)!];
  if (!(first.miou > 0.2 && first.miou < last.miou)) throw new Error(`cbt: exit 1 has a mean IoU of ${first.miou}`);
  const cheap = Math.min(...rows.map(({ macsFraction }) => macsFraction));
  if (cheap > 0.8) throw new Error(`cbt: no setting saves a fifth of the MACs; the cheapest takes ${cheap}`);
  return `cbt: mean IoU ${decimal(plain.miou, 3)} of ${data.test} frames, cheapest setting ${decimal(cheap, 3)} of its MACs`;
}
