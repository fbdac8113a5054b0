import { type Generator, layers, optimisers, type Runner, training } from "@exitkit/core-gpu";
import { countRight } from "../../measuring/answers.ts";
import { STATE } from "../../training/programs.ts";
import { type IdecParameters, targetDistribution } from "../../zoo/idec.ts";
import { assign } from "./assign.ts";
import { type ClusterNetwork, clusteringProgram, clusterProgram } from "./programs.ts";
import { judge } from "./quality/judge.ts";
import { roundDataset, sampleOrder } from "./rounds.ts";
import type { Quality } from "./schema.ts";
import type { Subject } from "./subject.ts";

/** What an update of the target distribution found. */
interface Update extends Quality {
  /** Steps before it. */
  readonly steps: number;
  /** Share of the pictures whose cluster is another than at the update before; 1 at the first. */
  readonly changed: number;
}

/** The clustering network at the end. */
export interface Improved {
  readonly network: ClusterNetwork;
  readonly updates: readonly Update[];
  /** [n]: the cluster of every training picture. */
  readonly labels: Int32Array;
  /** Whether so few pictures changed their cluster that there was nothing left to do; else the steps were used up. */
  readonly settled: boolean;
}

/**
 * Trains an autoencoder and its clusters' centres together: IDEC. Every `updateEvery` steps the target distribution is
 * computed anew from all pictures; it ends when fewer than `tolerance` of them changed their cluster since the update
 * before. A checkpoint at every update lets a killed run go on with the same bits.
 *
 * @param first The pretrained autoencoder and the centres that k-means found.
 * @param folder For checkpoints.
 */
export async function improveClusters(
  subject: Subject,
  first: IdecParameters,
  random: Generator,
  folder: string,
): Promise<Improved> {
  const { device, recipe, train, run, progress, name } = subject;
  const { batch, gamma, updateEvery, mostUpdates, tolerance, learningRate } = recipe;
  const adam = optimisers.adam();
  const runner = await device.compile(clusteringProgram(first, adam, batch, gamma), {
    state: STATE,
    initial: { params: first, optimiser: adam.init(first) },
  });
  const assigner = await device.compile(clusterProgram(first), {
    state: ["encoder", "centres"],
    initial: { encoder: first.encoder, centres: first.centres },
  });
  const size = updateEvery * batch;
  const order = sampleOrder(train.n, random.split());
  const stage = progress.stage(`${name}: clusters`, mostUpdates * size, "pictures");
  const updates: Update[] = [];
  let before: Int32Array | undefined;
  try {
    const trained = await takeUp(runner, folder);
    for (let round = 0; ; round++) {
      const steps = round * updateEvery;
      const params = layers.unflattenParameters(await runner.readState(), first, "params.");
      // What an earlier process trained further is only read again.
      const now = steps < trained ? null : await assignAll(assigner, params, subject);
      const { update, labels } = await run.step(`${name}-update${round}`, async () => {
        const changed = before === undefined ? 1 : (before.length - countRight(now!.labels, before)) / before.length;
        const update: Update = { steps, changed, ...judge(now!.labels, train.labels) };
        await run.metric({ run: name, ...update });
        return { update, labels: now!.labels };
      });
      updates.push(update);
      const settled = round > 0 && update.changed < tolerance;
      if (settled || round === mostUpdates) {
        const { encoder, centres } = params;
        return { network: { encoder, centres }, updates, labels, settled };
      }
      before = labels;
      if (now !== null) {
        await training.train({
          runner,
          data: roundDataset(train, targetDistribution(now.q, recipe.clusters), order, round, size),
          batchSize: batch,
          epochs: round + 1,
          shuffle: false,
          generator: random,
          learningRate,
          checkpoint: { folder, keep: 1 },
          resume: true,
          // Every round has targets of its own.
          resumeWithOther: ["data"],
        });
      }
      stage.advance(size);
    }
  } finally {
    stage.done();
    await runner.release();
    await assigner.release();
  }
}

/** Puts the newest checkpoint's state into the runner and gives the steps done; 0 where there is none. */
async function takeUp(runner: Runner, folder: string): Promise<number> {
  const newest = (await training.listCheckpoints(folder)).at(-1);
  if (newest === undefined) return 0;
  const { step, tensors } = await training.readCheckpoint(newest);
  await runner.writeState(tensors.state!);
  return step;
}

async function assignAll(assigner: Runner, { encoder, centres }: ClusterNetwork, { train }: Subject) {
  await assigner.writeState({ encoder, centres });
  return assign(assigner, train);
}
