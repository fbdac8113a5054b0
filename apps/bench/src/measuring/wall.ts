import { type Device, type Tensor, tensor } from "@exitkit/core-gpu";
import type { ExitCosts } from "@exitkit/early-exit";
import { z } from "zod";
import type { Batch } from "../data/batches.ts";
import { decimal } from "../report/numbers.ts";
import type { Backbone } from "../zoo/backbone.ts";
import { argMaxRows } from "./answers.ts";
import { pairedLoss, widestMargin } from "./paired.ts";
import { amount, share } from "./ranges.ts";
import { quantile } from "./timing.ts";

/** What is measured of a network that stops early, run in stages, against the plain one over the same batches. */
export const wallFields = {
  batch: amount,
  /** How many were timed; older results do not say it. */
  pictures: amount.optional(),
  /** Mean MACs of the timed pictures as a fraction of the plain network. */
  macsFraction: amount,
  /** Median over rounds of (time in stages ÷ time in one plain session). */
  wallFraction: amount,
  /** Of the timed pictures, and the plain network's on the same ones. */
  accuracy: share,
  fullAccuracy: share,
  /** Of the timed pictures, those that only the plain network answers rightly, and those that only the other one does. */
  lostPictures: amount.optional(),
  gainedPictures: amount.optional(),
  /** The least and the largest of the rounds' fractions of time. */
  wallRange: z.tuple([amount, amount]).readonly().optional(),
  /** Milliseconds a batch, medians over rounds. */
  plainMs: amount,
  stagedMs: amount,
  /** Rounds. */
  runs: amount,
};

type WallTimes = z.output<z.ZodObject<typeof wallFields>>;

/**
 * "0.31 ± 0.20": points lost of the timed pictures, and the half width of the 95 % interval; "± ≤ 1.60" in older results, which do not say
 * which pictures were lost.
 */
export function pointsLost({ accuracy, fullAccuracy, pictures, lostPictures, gainedPictures }: WallTimes): string {
  const lost = decimal(100 * (fullAccuracy - accuracy), 2);
  if (pictures === undefined) return lost;
  if (lostPictures === undefined || gainedPictures === undefined) {
    return `${lost} ± ≤ ${decimal(100 * widestMargin(fullAccuracy, accuracy, pictures), 2)}`;
  }
  return `${lost} ± ${decimal(100 * pairedLoss(lostPictures, gainedPictures, pictures).margin, 2)}`;
}

/** A network with exits that really stops early. */
export interface Opened {
  classify(x: Tensor<"float32">): Promise<{ readonly predictions: Int32Array; readonly leftAt: Int32Array }>;
  release(): Promise<void>;
}

/**
 * Times networks that stop early against the plain one: every batch through all of them, one after the other, beginning with
 * another one from batch to batch. A first round, which counts nothing, judges the answers.
 *
 * @param staged Opened here and released.
 * @param batches All of the same size.
 */
export async function timeInStages(
  device: Device,
  { model, input, output }: Pick<Backbone, "model" | "input" | "output">,
  staged: readonly { open(): Promise<Opened>; readonly costs: ExitCosts }[],
  batches: readonly Batch[],
  { classes, rounds, onRound }: { readonly classes: number; readonly rounds: number; onRound?(): void },
): Promise<readonly WallTimes[]> {
  const batch = batches[0]!.y.length;
  const into = { [output]: tensor("float32", [batch, classes]) };
  const session = await device.load(model);
  const opened: Opened[] = [];
  const all = [null, ...staged].map(() => ({ macs: 0, times: [] as number[], right: [] as boolean[] }));
  try {
    for (const one of staged) opened.push(await one.open());
    const answer = async (at: number, { x, y }: Batch, judged: boolean) => {
      const begun = performance.now();
      const answered = at === 0 ? await session.run({ [input]: x }, { into }) : await opened[at - 1]!.classify(x);
      const time = performance.now() - begun;
      if (judged && "leftAt" in answered) {
        const { predictions, leftAt } = answered as Awaited<ReturnType<Opened["classify"]>>;
        judge(all[at]!.right, predictions, y);
        for (const exit of leftAt) all[at]!.macs += staged[at - 1]!.costs.exits[exit]!;
      } else if (judged) judge(all[at]!.right, argMaxRows(into[output]!.data, classes), y);
      return time;
    };
    for (let round = -1; round < rounds; round++) {
      const sums = all.map(() => 0);
      for (const [index, piece] of batches.entries()) {
        for (let turn = 0; turn < all.length; turn++) {
          const at = (turn + index + round + 1) % all.length;
          sums[at]! += await answer(at, piece, round < 0);
        }
      }
      if (round < 0) continue;
      sums.forEach((sum, at) => {
        all[at]!.times.push(sum);
      });
      onRound?.();
    }
  } finally {
    for (const one of opened) await one.release();
    await session.release();
  }
  const pictures = batches.length * batch;
  const [plain, ...others] = all as [(typeof all)[number], ...typeof all];
  return others.map(({ right, macs, times }, index) => {
    const fractions = times.map((time, round) => time / plain.times[round]!);
    const only = (mine: readonly boolean[], theirs: readonly boolean[]) =>
      count(mine.map((is, at) => is && !theirs[at]));
    return {
      batch,
      pictures,
      macsFraction: macs / pictures / staged[index]!.costs.full,
      wallFraction: quantile(fractions, 0.5),
      accuracy: count(right) / pictures,
      fullAccuracy: count(plain.right) / pictures,
      lostPictures: only(plain.right, right),
      gainedPictures: only(right, plain.right),
      wallRange: [Math.min(...fractions), Math.max(...fractions)] as const,
      plainMs: quantile(plain.times, 0.5) / batches.length,
      stagedMs: quantile(times, 0.5) / batches.length,
      runs: times.length,
    };
  });
}

function judge(right: boolean[], answers: Int32Array, labels: Int32Array): void {
  answers.forEach((answer, i) => {
    right.push(answer === labels[i]);
  });
}

function count(values: readonly boolean[]): number {
  return values.filter((value) => value).length;
}
