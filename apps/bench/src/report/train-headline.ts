import type { Headline } from "./headline.ts";
import { count, decimal, percent, points } from "./numbers.ts";
import { networkName } from "./series.ts";
import type { TrainCifar10Result, TrainStepResult } from "./types.ts";

/** Test accuracy wanted of ResNet-20 on all of CIFAR-10, and in how many epochs. */
const GOAL = { accuracy: 0.88, epochs: 20, pictures: 50_000 } as const;

const NOTHING = { detail: "", met: undefined, facts: [] } as const;

/** What the network learned: its accuracy after all of CIFAR-10, or, after less, that it learns at all. */
export function trainCifar10Headline({ rows, curve, data, spread }: TrainCifar10Result): Headline {
  const [row] = rows;
  const [first, last] = [curve[0], curve.filter(({ seed }) => seed === row?.seed).at(-1)];
  if (row === undefined || first === undefined || last === undefined) {
    return { ...NOTHING, sentence: "Training from scratch: nothing was measured in this run." };
  }
  const whole = data?.complete === true && row.pictures >= GOAL.pictures;
  const name = networkName(row.network);
  const pictures = data === undefined ? "the" : count(data.test);
  const accuracy = spread?.mean ?? row.testAccuracy;
  const facts = [
    {
      value: percent(accuracy, 1),
      name: spread === undefined ? "of the test pictures right" : `right, mean of ${spread.seeds} seeds`,
    },
    { value: String(row.epochs), name: `epochs of ${count(row.pictures)} pictures` },
    { value: count(row.imagesPerSecond), name: "training pictures a second" },
    ...(spread === undefined ? [] : [{ value: points(spread.deviation), name: "standard deviation over seeds" }]),
  ];
  if (!whole) {
    return {
      sentence: `${name}, trained from scratch on ${count(row.pictures)} pictures for ${row.epochs} epochs: its loss falls from ${decimal(first.trainLoss, 2)} to ${decimal(last.trainLoss, 2)}, and it answers ${percent(accuracy, 1)} of ${pictures} test pictures right.`,
      detail: "A part of CIFAR-10 shows that training works; only all 50,000 pictures show how good the network gets.",
      goal: "the loss falls and the test accuracy rises",
      met: last.trainLoss < first.trainLoss && last.testAccuracy > first.testAccuracy,
      facts,
    };
  }
  return {
    sentence: `${name}, trained from scratch for ${row.epochs} epochs, answers ${percent(accuracy, 1)} of ${pictures} CIFAR-10 test pictures right.`,
    detail: "",
    goal: `at least ${percent(GOAL.accuracy)} right after at most ${GOAL.epochs} epochs`,
    met: accuracy >= GOAL.accuracy && row.epochs <= GOAL.epochs,
    facts,
  };
}

/** The fastest and the slowest network's arithmetic. */
export function trainStepHeadline({ rows }: TrainStepResult): Headline {
  const sorted = [...rows].sort((a, b) => a.gflops - b.gflops);
  const [least, most] = [sorted[0], sorted.at(-1)];
  if (least === undefined || most === undefined) {
    return { ...NOTHING, sentence: "The speed of training: nothing was measured in this run." };
  }
  const speed = (value: number) => `${decimal(value, 0)}\u00a0GFLOP/s`;
  return {
    sentence:
      least === most
        ? `Training ${networkName(most.model)} computes ${speed(most.gflops)}.`
        : `Training computes from ${speed(least.gflops)} (${networkName(least.model)}) to ${speed(most.gflops)} (${networkName(most.model)}).`,
    detail: "Whole steps: forward, gradients and the optimiser's update.",
    met: undefined,
    facts: rows.map((row) => ({
      value: count(row.imagesPerSecond),
      name: `${row.unit} a second, ${networkName(row.model)}`,
    })),
  };
}
