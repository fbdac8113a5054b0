import { machine } from "../../report/machine.ts";
import type { Block } from "../../report/markdown.ts";
import { count, exact, points, signed, times } from "../../report/numbers.ts";
import { backboneName } from "../../report/series.ts";
import { tableOf } from "../../report/table.ts";
import { dataWords } from "../../report/words.ts";
import type { Kept, Summary } from "../experiment.ts";
import type { E2cmCifar10Result } from "./schema.ts";
import { depthTable, fitTable, lossTable, overheadTable, picturesTimed, soundRows, wallTable } from "./tables.ts";

/** Its part of the README. */
export function readme(result: E2cmCifar10Result): readonly Block[] {
  const { data, backbones } = result;
  const { backbone, accuracy, testPictures } = backbones.at(-1)!;
  const shown = soundRows(result, backbone).filter(({ wantedLoss }) =>
    [0.002, 0.003, 0.005, 0.01].includes(wantedLoss ?? -1),
  );
  const wall = result.wall.filter((row) => row.backbone === backbone);
  const pictures = wall.map((row) => count(picturesTimed(row)));
  const across = (title: string, value: (row: (typeof wall)[number]) => string) => [title, ...wall.map(value)];
  return [
    `${backboneName(backbone)} on CIFAR-10, ${count(testPictures)} test pictures, ${exact(accuracy)} right; exits fitted in one pass over\n${count(data!.train)} training pictures, no gradient. Thresholds from one half of the test pictures, reported on the other, both ways:`,
    tableOf(shown, [
      ["asked to lose at most", ({ wantedLoss }) => points(wantedLoss!)],
      ["right", (row) => `${exact(row.accuracy)} (${signed(row.accuracy - accuracy)})`],
      ["MACs, exits included", "macsFraction", times],
    ]),
    `Wall clock when asked to lose at most ${points(wall[0]!.wantedLoss!)}: the first ${pictures.at(-1)} pictures of the second half (${pictures[0]} one by one), thresholds from the first half; against one plain session, interleaved, medians:`,
    {
      head: across("batch", ({ batch }) => String(batch)),
      body: [
        across("time", ({ wallFraction }) => times(wallFraction)),
        across("MACs", ({ macsFraction }) => times(macsFraction)),
        across("right, of the pictures timed", (row) => exact(row.accuracy)),
        across("plain network, the same pictures", ({ fullAccuracy }) => exact(fullAccuracy!)),
      ],
    },
    `Measured on ${machine(result)}. More, and how: [docs/measured.md](docs/measured.md).`,
  ];
}

/** Its part of docs/measured.md. */
export function measured(result: E2cmCifar10Result): readonly Block[] {
  const { data, backbones, wall } = result;
  const main = backbones.at(-1)!.backbone;
  return [
    "## Early exit by class means, CIFAR-10",
    `${dataWords(data)} ${machine(result)}.`,
    ...backbones.flatMap(({ backbone, accuracy, macs }) => [
      `### ${backboneName(backbone)}: ${exact(accuracy)} right with ${(macs / 1e6).toFixed(1)} million MACs`,
      "Sound protocol: thresholds from one half of the test pictures, reported on the other half, both ways.",
      lossTable(result, backbone, accuracy),
      "Each cell: MACs as a fraction of the plain network, exits included, and the change of accuracy in points.",
    ]),
    `### ${backboneName(main)}: accuracy if every picture left at an exit`,
    depthTable(result, main),
    `### Wall clock, asked to lose at most ${points(wall[0]!.wantedLoss!)}`,
    "On the first pictures of the second half, thresholds from the first half.",
    wallTable(result),
    "### Speed of fitting, against plain inference over the same pictures",
    fitTable(result),
    "### What exits add when nothing leaves, and what they reach",
    overheadTable(result),
  ];
}

/** What the terminal shows at the end. */
export function summary(result: E2cmCifar10Result): Summary {
  const { backbones, operating } = result;
  const plain = backbones.map((row) => ({ ...row, setting: "plain network", macsFraction: 1 }));
  const chosen = operating.map((row) => ({
    ...row,
    setting: `asked to lose ≤ ${points(row.wantedLoss)} (${row.protocol})`,
  }));
  const settings = tableOf(
    [...plain, ...chosen],
    [
      ["network", ({ backbone }) => backboneName(backbone)],
      ["setting", "setting"],
      ["MACs", "macsFraction", times],
      ["right", "accuracy", exact],
    ],
  );
  return {
    table: [settings, wallTable(result)],
    notes: [
      "Thresholds from one half of the test pictures, accuracy on the other half, both ways; timed on the second half only.",
      "MACs (exits included) and time are fractions of the plain network's.",
    ],
  };
}

/** What docs/results holds: pictures and thresholds are left out. */
export function keep({ examples, confusion, ...result }: E2cmCifar10Result): Kept {
  const rows = result.rows.filter(({ protocol }) => protocol === "sound").map(({ thresholds, shares, ...row }) => row);
  return { value: { ...result, rows } };
}
