import { join } from "node:path";
import {
  type Device,
  generator,
  optimisers,
  type Runner,
  schedules,
  type Tensor,
  tensor,
  training,
  writeSafetensorsFile,
} from "@exitkit/core-gpu";
import { z } from "zod";
import { type Augmentation, augmentedPictures } from "../data/augment.ts";
import { batches } from "../data/batches.ts";
import type { Normalisation } from "../data/normalisation.ts";
import type { Pictures } from "../data/pictures.ts";
import { exact } from "../report/numbers.ts";
import type { RunFolder } from "../runs/run.ts";
import type { Progress } from "../terminal/progress.ts";
import type { TrainableNetwork } from "../zoo/trainable.ts";
import { evaluationProgram, openTrainingStep, weightsOf } from "./programs.ts";
import type { Recipe } from "./recipe.ts";

/** One epoch of one seed; the measures are what the report draws. */
export const epochSchema = z.object({
  seed: z.number(),
  /** From 1. */
  epoch: z.number(),
  /** Of the epoch's last step. */
  learningRate: z.number(),
  /** Means over the epoch's steps, on augmented pictures, while the network changes. */
  trainLoss: z.number(),
  trainAccuracy: z.number(),
  testLoss: z.number(),
  testAccuracy: z.number(),
  /** Of the epoch's steps, the preparation of their pictures included; an interrupted epoch's are extrapolated. */
  seconds: z.number(),
});

/** What one training gives. */
export const trainedSchema = z.object({
  network: z.string(),
  seed: z.number(),
  pictures: z.number(),
  epochs: z.number(),
  steps: z.number(),
  trainLoss: z.number(),
  testLoss: z.number(),
  testAccuracy: z.number(),
  seconds: z.number(),
  imagesPerSecond: z.number(),
});

export type EpochRow = z.output<typeof epochSchema>;
export type TrainedRow = z.output<typeof trainedSchema>;

/** What is trained, on what, how. */
export interface Training {
  readonly device: Device;
  readonly network: TrainableNetwork;
  readonly recipe: Recipe;
  readonly seed: number;
  readonly train: Pictures;
  readonly test: Pictures;
  /** How pictures become inputs, and how training pictures are varied. Default: CIFAR-10's. */
  readonly normalisation?: Normalisation;
  readonly augmentation?: Augmentation;
  /** Names the run's checkpoints, times and weights. Default `seed<seed>`. */
  readonly name?: string;
  readonly run: RunFolder;
  readonly progress: Progress;
}

/** Steps between two checkpoints: what a killed run loses at most. */
const CHECKPOINT_EVERY = 50;
const EVALUATION_BATCH = 250;

/**
 * Trains a network from scratch and judges it on the test pictures after every epoch. A checkpoint goes to the run's folder
 * every {@link CHECKPOINT_EVERY} steps; a killed run goes on there with the same bits. The last weights are kept as
 * `weights-<name>.safetensors`.
 */
export async function trainNetwork(options: Training): Promise<{
  readonly row: TrainedRow;
  readonly curve: readonly EpochRow[];
  readonly weights: Readonly<Record<string, Tensor>>;
}> {
  const { device, network, recipe, seed, train, normalisation, augmentation, run, progress } = options;
  const { name = `seed${seed}` } = options;
  const random = generator(seed);
  const optimiser = optimisers.sgd({
    momentum: recipe.momentum,
    nesterov: true,
    weightDecay: recipe.weightDecay,
    mask: (_, { shape }) => shape.length > 1,
  });
  const perEpoch = Math.floor(train.n / recipe.batch);
  const steps = perEpoch * recipe.epochs;
  const schedule = schedules.oneCycle({ maximum: recipe.peakLearningRate, steps, rise: recipe.warmUp });
  const opened = await openTrainingStep(device, network, recipe.batch, optimiser, random.split());
  const { runner: step, params, specs } = opened;
  const judge = await device.compile(evaluationProgram(network, "n", specs.params), {
    state: ["params"],
    initial: { params },
  });
  const clock = stepClock(perEpoch);
  const seconds = new Map<number, number>();
  const timeOf = async (epoch: number): Promise<number> => {
    const known = seconds.get(epoch) ?? (await run.step(`${name}-epoch${epoch}-seconds`, async () => clock.take()));
    seconds.set(epoch, known);
    return known;
  };
  const title = options.name ?? `seed ${seed}`;
  let stage: ReturnType<Progress["stage"]> | null = null;
  try {
    const result = await training.train({
      runner: step,
      data: augmentedPictures(train, normalisation, augmentation),
      batchSize: recipe.batch,
      dropLast: true,
      epochs: recipe.epochs,
      generator: random,
      learningRate: schedule,
      checkpoint: { folder: join(run.path, "checkpoints", name), everySteps: CHECKPOINT_EVERY },
      resume: true,
      onStep: ({ epoch, batch, batches: count }) => {
        clock.tick();
        if (stage === null) {
          stage = progress.stage(`${title}, epoch ${epoch + 1} of ${recipe.epochs}`, count * recipe.batch, "pictures");
          stage.advance(batch * recipe.batch);
        }
        stage.advance(recipe.batch);
      },
      evaluate: async ({ readState }) => {
        stage?.done();
        stage = null;
        const measured = await evaluate(judge, await readState(), options);
        clock.resume();
        return measured;
      },
      onEpoch: async ({ epoch, metrics, evaluation }) => {
        await timeOf(epoch + 1);
        const [loss, accuracy] = [metrics.loss!.toFixed(3), exact(evaluation.accuracy!)];
        progress.note(
          `${title}, epoch ${epoch + 1} of ${recipe.epochs}: training loss ${loss}, test accuracy ${accuracy}`,
        );
        clock.resume();
      },
    });
    const curve: EpochRow[] = [];
    for (const { epoch, learningRate, metrics, evaluation } of result.history) {
      const [trainLoss, trainAccuracy] = [metrics.loss!, metrics.accuracy!];
      const [testLoss, testAccuracy] = [evaluation.loss!, evaluation.accuracy!];
      const measured = { learningRate: learningRate!, trainLoss, trainAccuracy, testLoss, testAccuracy };
      curve.push({ seed, epoch: epoch + 1, ...measured, seconds: await timeOf(epoch + 1) });
      await run.metric({ ...curve.at(-1)! });
    }
    const weights = await weightsOf(step);
    await writeSafetensorsFile(join(run.path, `weights-${name}.safetensors`), weights);
    return { row: rowOf(options, curve, result.steps), curve, weights };
  } finally {
    await step.release();
    await judge.release();
  }
}

function rowOf({ network, seed, train, recipe }: Training, curve: readonly EpochRow[], steps: number): TrainedRow {
  const { trainLoss, testLoss, testAccuracy } = curve.at(-1)!;
  const seconds = curve.reduce((sum, row) => sum + row.seconds, 0);
  const trained = { network: network.name, seed, pictures: train.n, epochs: curve.length, steps };
  const imagesPerSecond = (steps * recipe.batch) / seconds;
  return { ...trained, trainLoss, testLoss, testAccuracy, seconds, imagesPerSecond };
}

/** Mean loss and accuracy on all pictures. */
async function evaluate(
  judge: Runner,
  state: Awaited<ReturnType<Runner["readState"]>>,
  { test: pictures, normalisation }: Pick<Training, "test" | "normalisation">,
): Promise<{ loss: number; accuracy: number }> {
  await judge.writeState(Object.fromEntries(Object.entries(state).filter(([name]) => name.startsWith("params."))));
  let [loss, accuracy] = [0, 0];
  for await (const { x, y } of batches(pictures, EVALUATION_BATCH, normalisation)) {
    const labels = tensor("int64", [y.length], BigInt64Array.from(y, BigInt));
    const out = await judge.run({ x, y: labels });
    const share = y.length / pictures.n;
    loss += share * (out.loss!.data[0] as number);
    accuracy += share * (out.accuracy!.data[0] as number);
  }
  return { loss, accuracy };
}

/** Sums the time of an epoch's steps; where a run was interrupted in the epoch, the steps it saw stand for all. */
function stepClock(perEpoch: number) {
  let [mark, sum, steps] = [performance.now(), 0, 0];
  return {
    tick() {
      const now = performance.now();
      sum += now - mark;
      steps++;
      mark = now;
    },
    /** Time until now is not a step's. */
    resume() {
      mark = performance.now();
    },
    /** Seconds of the epoch; begins the next. */
    take(): number {
      const seconds = (sum / 1000 / Math.max(1, steps)) * perEpoch;
      [sum, steps] = [0, 0];
      return seconds;
    },
  };
}
