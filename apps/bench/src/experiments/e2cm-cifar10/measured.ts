import { pointsLost } from "../../measuring/wall.ts";
import { busyWords, machine } from "../../report/machine.ts";
import type { Block } from "../../report/markdown.ts";
import { count, exact, points, times } from "../../report/numbers.ts";
import { backboneName } from "../../report/series.ts";
import { tableOf } from "../../report/table.ts";
import { dataWords } from "../../report/words.ts";
import type { Kept, Summary } from "../experiment.ts";
import type { E2cmCifar10Result } from "./schema.ts";
import {
  defaultRows,
  depthTable,
  fitTable,
  halvingsTable,
  lossTable,
  overheadTable,
  promiseTable,
  SHOWN_LOSSES,
  wallTable,
} from "./tables.ts";

/** Its part of the README. */
export function readme(result: E2cmCifar10Result): readonly Block[] {
  const { data, backbones, halvings } = result;
  const { backbone, accuracy, testPictures } = backbones.at(-1)!;
  const wall = result.wall.filter((row) => row.backbone === backbone);
  const more = wall.some((row) => row.fullAccuracy - row.accuracy > row.wantedLoss && (row.pictures ?? 0) > 4000);
  const across = (title: string, value: (row: (typeof wall)[number]) => string) => [title, ...wall.map(value)];
  return [
    `${backboneName(backbone)} on CIFAR-10, ${count(testPictures)} test pictures, ${exact(accuracy)} right; exits fitted in one pass over\n${count(data!.train)} training pictures, no gradient. Means over ${halvings.at(-1)?.halvings} random halvings of the test pictures, thresholds from one half, loss and cost on the other. *Guarded*, the default: what was asked for is kept on new pictures with probability 0.9. *Aimed at*: it was kept on the pictures that chose. *Lost more*: halvings in which the other half lost more than was asked for.`,
    promiseTable(result, backbone),
    `Wall clock, guarded for a loss of at most ${points(wall[0]!.wantedLoss)}, in the halving whose guarded MACs are the median of all ${halvings.at(-1)?.halvings}: thresholds from one half, pictures of the other; against one plain session, interleaved, medians of ${wall[0]!.runs} rounds. All of a column is of the same pictures; ±: 95 % interval, 1.96 standard errors of the differences picture by picture.${more ? " This is one of the halvings in which more was lost than was asked for." : ""}`,
    {
      head: across("batch", ({ batch }) => String(batch)),
      body: [
        across("pictures", ({ pictures }) => count(pictures!)),
        across("time", ({ wallFraction }) => times(wallFraction)),
        across("MACs", ({ macsFraction }) => times(macsFraction)),
        across("right", (row) => exact(row.accuracy)),
        across("plain network", ({ fullAccuracy }) => exact(fullAccuracy)),
        across("points lost", pointsLost),
      ],
    },
    `Measured on ${machine(result)}.${busyWords(result)} More, and how: [docs/measured.md](docs/measured.md).`,
  ];
}

/** Its part of docs/measured.md. */
export function measured(result: E2cmCifar10Result): readonly Block[] {
  const { data, backbones, wall } = result;
  const main = backbones.at(-1)!.backbone;
  return [
    "## Early exit by class means, CIFAR-10",
    `${dataWords(data)} ${machine(result)}.${busyWords(result)}`,
    "### Is the promise kept?",
    `The test pictures were halved at random ${result.halvings[0]?.halvings} times: thresholds from one half, their loss on the other. A guarded choice promises that the loss is exceeded on new pictures with probability 0.1 at most; the other half is a sample itself, so what it loses scatters around what is lost on all new pictures, and that counts against the promise here.`,
    halvingsTable(result),
    ...backbones.flatMap(({ backbone, accuracy, macs }) => [
      `### ${backboneName(backbone)}: ${exact(accuracy)} right with ${(macs / 1e6).toFixed(1)} million MACs`,
      "Thresholds from one half of the test pictures, reported on the other half, both ways. Guarded:",
      lossTable(result, backbone, "guarded"),
      "Aimed at:",
      lossTable(result, backbone, "aimed"),
      "Each cell: MACs as a fraction of the plain network, exits included, and the change of accuracy in points.",
    ]),
    `### ${backboneName(main)}: accuracy if every picture left at an exit`,
    depthTable(result, main),
    `### Wall clock, guarded for a loss of at most ${points(wall[0]!.wantedLoss)}`,
    "The random halving whose guarded MACs are the median of them all: thresholds from one half, pictures of the other; all of a row is of the same pictures, and what they lost stands with its 95 % interval, in points.",
    wallTable(result),
    "### Speed of fitting, against plain inference over the same pictures",
    fitTable(result),
    "### What exits add when nothing leaves, and what they reach",
    overheadTable(result),
  ];
}

/** What the terminal shows at the end. */
export function summary(result: E2cmCifar10Result): Summary {
  const plain = result.backbones.map((row) => ({ ...row, setting: "plain network", macsFraction: 1 }));
  const chosen = result.backbones.flatMap(({ backbone }) =>
    defaultRows(result, backbone, "guarded")
      .filter(({ wantedLoss }) => SHOWN_LOSSES.includes(wantedLoss!))
      .map((row) => ({ ...row, setting: `at most ${points(row.wantedLoss!)} lost` })),
  );
  const settings = tableOf(
    [...plain, ...chosen],
    [
      ["network", ({ backbone }) => backboneName(backbone)],
      ["setting", "setting"],
      ["MACs", "macsFraction", times],
      ["right", "accuracy", exact],
    ],
  );
  const time = tableOf(result.wall, [
    ["network", ({ backbone }) => backboneName(backbone)],
    ["batch", "batch"],
    ["pictures", ({ pictures }) => pictures, count],
    ["MACs", "macsFraction", times],
    ["time", "wallFraction", times],
    ["points lost", pointsLost],
  ]);
  return {
    table: [settings, time],
    notes: [
      "MACs (exits included) and time are fractions of the plain network's. A loss is kept on new pictures with probability 0.9; where the calibration pictures cannot show that, nothing leaves early.",
    ],
  };
}

/** What docs/results holds: pictures and the paper's thresholds are left out, shares where no page shows them. */
export function keep({ examples, confusion, ...result }: E2cmCifar10Result): Kept {
  const rows = result.rows
    .filter(({ choice }) => choice !== "paper")
    .map(({ shares, ...row }) =>
      row.variant === "moments" && SHOWN_LOSSES.includes(row.wantedLoss ?? -1) ? { ...row, shares } : row,
    );
  return { value: { ...result, rows } };
}
