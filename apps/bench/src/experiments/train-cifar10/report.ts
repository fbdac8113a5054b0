import { meanOf } from "../../measuring/answers.ts";
import { caption, details } from "../../report/chart.ts";
import { dataFiles } from "../../report/files.ts";
import { type Axis, countAxis, type Line, lineFigure, percentAxis } from "../../report/lines.ts";
import { count, decimal, digits, exact, percent, points, seconds } from "../../report/numbers.ts";
import type { Headline, Report } from "../../report/report.ts";
import { grouped, networkName } from "../../report/series.ts";
import { tableOf } from "../../report/table.ts";
import { dataWords, pairsWords } from "../../report/words.ts";
import type { Summary } from "../experiment.ts";
import type { TrainCifar10Result } from "./schema.ts";

type Epoch = TrainCifar10Result["curve"][number];

/** Test accuracy wanted of ResNet-20 on all of CIFAR-10, and in how many epochs. */
const GOAL = { accuracy: 0.88, epochs: 20, pictures: 50_000 } as const;

/** Its chapter of the report. */
export function report(result: TrainCifar10Result): Report {
  const { curve, rows, spread, data, recipe } = result;
  return {
    headline: headline(result),
    sections: [
      {
        id: "curve",
        title: "Learning, epoch by epoch",
        about:
          "The network begins with random weights. How fast does it learn, and does it learn more than the pictures by heart?",
        of: curve,
        content: () => [curves(curve), details(`All ${curve.length} epochs`, epochTable(curve))],
      },
      {
        id: "seeds",
        title: "What came out",
        about: "Every seed begins with other weights and sees the pictures in another order.",
        content: [
          rows.length > 0 && seedTable(rows),
          spread !== undefined && caption(`${spreadWords(spread)}, standard deviation ${points(spread.deviation)}.`),
        ],
      },
    ],
    method: {
      Data: `${dataWords(data)} A training picture is padded by four black pixels, cropped at random and mirrored half of the time. The test pictures choose nothing: no epoch is picked by them.`,
      Recipe: `${pairsWords(recipe) ?? "Not recorded."} SGD with Nesterov momentum; the learning rate rises and falls once (one cycle), by cosine.`,
      Time: "Wall clock of the training steps with the preparation of their pictures; evaluation is not counted.",
    },
    files: dataFiles(data?.files),
  };
}

/** What the network learned: its accuracy after all of CIFAR-10, or, after less, that it learns at all. */
function headline({ rows, curve, data, spread }: TrainCifar10Result): Headline {
  const [row] = rows;
  const [first, last] = [curve[0], curve.filter(({ seed }) => seed === row?.seed).at(-1)];
  if (row === undefined || first === undefined || last === undefined) {
    return { sentence: "Training from scratch: nothing was measured in this run." };
  }
  const whole = data?.complete === true && row.pictures >= GOAL.pictures;
  const name = networkName(row.network);
  const pictures = data === undefined ? "the" : count(data.test);
  const accuracy = spread?.mean ?? row.testAccuracy;
  const right = spread === undefined ? "of the test pictures right" : `right, mean of ${spread.seeds} seeds`;
  const facts = [
    { value: percent(accuracy, 1), name: right },
    { value: String(row.epochs), name: `epochs of ${count(row.pictures)} pictures` },
    { value: count(row.imagesPerSecond), name: "training pictures a second" },
    ...(spread === undefined ? [] : [{ value: points(spread.deviation), name: "standard deviation over seeds" }]),
  ];
  if (!whole) {
    return {
      sentence: `${name}, trained from scratch on ${count(row.pictures)} pictures for ${row.epochs} epochs: its loss falls from ${decimal(first.trainLoss, 2)} to ${decimal(last.trainLoss, 2)}, and it answers ${percent(accuracy, 1)} of ${pictures} test pictures right.`,
      detail: "A part of CIFAR-10 shows that training works; only all 50,000 pictures show how good the network gets.",
      goal: {
        text: "the loss falls and the test accuracy rises",
        met: last.trainLoss < first.trainLoss && last.testAccuracy > first.testAccuracy,
      },
      facts,
    };
  }
  return {
    sentence: `${name}, trained from scratch for ${row.epochs} epochs, answers ${percent(accuracy, 1)} of ${pictures} CIFAR-10 test pictures right.`,
    goal: {
      text: `at least ${percent(GOAL.accuracy)} right after at most ${GOAL.epochs} epochs`,
      met: accuracy >= GOAL.accuracy && row.epochs <= GOAL.epochs,
    },
    facts,
  };
}

/** Loss and accuracy by epoch, of training and of test pictures. */
function curves(curve: readonly Epoch[]) {
  const losses = curve.flatMap((row) => [row.trainLoss, row.testLoss]);
  const domain = [Math.max(0, Math.min(...losses) - 0.1), Math.max(...losses) + 0.1] as const;
  const x = countAxis("epoch", [1, Math.max(2, ...curve.map((row) => row.epoch))]);
  const chart = (title: string, y: Axis, part: "Loss" | "Accuracy", format: (value: number) => string) => {
    const lines = seedLines(curve, (row) => [row[`train${part}`], row[`test${part}`]], format);
    return { title, label: `${title} by epoch`, lines, x, y, phoneHeight: 280 };
  };
  return lineFigure(
    [
      chart("Loss", { label: "cross-entropy", domain, format: digits(1) }, "Loss", digits(3)),
      chart("Accuracy", percentAxis("right answers", [0, 1]), "Accuracy", (value) => percent(value, 1)),
    ],
    "Training pictures are cropped and mirrored by chance and counted while the network still changes, so they look harder than they are.",
  );
}

/** One line for the test pictures of every seed, and one for the training pictures, the mean over seeds. */
function seedLines(
  curve: readonly Epoch[],
  values: (row: Epoch) => readonly [train: number, test: number],
  format: (value: number) => string,
): Line[] {
  const seeds = grouped(curve, ({ seed }) => seed);
  const one = seeds.length === 1;
  const mean = grouped(curve, ({ epoch }) => epoch).map(([epoch, own]) => {
    const y = meanOf(own.map((row) => values(row)[0]));
    return { x: epoch, y, title: `Epoch ${epoch}: ${format(y)} (training${one ? "" : ", mean over seeds"})` };
  });
  const tested = (row: Epoch) => {
    const y = values(row)[1];
    return { x: row.epoch, y, title: `Epoch ${row.epoch}, seed ${row.seed}: ${format(y)} (test)` };
  };
  return [
    { name: one ? "training" : "training, mean", color: "var(--red)", points: mean },
    ...seeds.map(([seed, own], index) => ({
      name: one ? "test" : `test, seed ${seed}`,
      color: "var(--blue)",
      dashed: index > 0,
      points: own.map(tested),
    })),
  ];
}

function epochTable(curve: readonly Epoch[]) {
  return tableOf(curve, [
    ["seed", "seed"],
    ["epoch", "epoch"],
    ["learning rate after it", "learningRate", (value) => value.toPrecision(3)],
    ["training loss", "trainLoss", digits(3)],
    ["training accuracy", "trainAccuracy", exact],
    ["test loss", "testLoss", digits(3)],
    ["test accuracy", "testAccuracy", exact],
    ["time", "seconds", seconds],
  ]);
}

function seedTable(rows: TrainCifar10Result["rows"]) {
  return tableOf(rows, [
    ["network", ({ network, seed }) => `${networkName(network)}, seed ${seed}`],
    ["training pictures", "pictures"],
    ["epochs", "epochs"],
    ["training loss", "trainLoss", digits(3)],
    ["test loss", "testLoss", digits(3)],
    ["test accuracy", "testAccuracy", exact],
    ["time", "seconds", seconds],
    ["pictures a second", "imagesPerSecond", count],
  ]);
}

function spreadWords({ seeds, mean, least, most }: NonNullable<TrainCifar10Result["spread"]>): string {
  return `${seeds} seeds: ${exact(mean)} on average, from ${exact(least)} to ${exact(most)}`;
}

/** What the terminal shows: every epoch of one seed, or the last of each of several. */
export function summary({ rows, curve, spread }: TrainCifar10Result): Summary {
  const last = curve.filter(({ seed, epoch }) => epoch === rows.find((row) => row.seed === seed)?.epochs);
  const speeds = rows.map(
    ({ network, pictures, imagesPerSecond }) =>
      `${networkName(network)} on ${count(pictures)} pictures: ${count(imagesPerSecond)} training pictures a second.`,
  );
  return {
    table: epochTable(rows.length === 1 ? curve : last),
    notes: [
      ...speeds.slice(0, 1),
      ...(spread === undefined ? [] : [`${spreadWords(spread)}, standard deviation ${points(spread.deviation)}.`]),
    ],
  };
}
