import { rm } from "node:fs/promises";
import { join } from "node:path";
import { generator, tensor, training } from "@exitkit/core-gpu";
import type { AutoencoderParameters } from "../../zoo/autoencoder.ts";
import { PASS_BATCH } from "./assign.ts";
import { type Improved, improveClusters } from "./improve.ts";
import { bestKmeans } from "./kmeans.ts";
import { pixelDataset } from "./pixels.ts";
import { pretrain } from "./pretrain.ts";
import { codeProgram } from "./programs.ts";
import { judge } from "./quality/judge.ts";
import type { Quality } from "./schema.ts";
import type { Subject } from "./subject.ts";

/** A data set clustered: the network, its clusters, and how it came to them. */
export interface Clustered extends Improved {
  /** The autoencoder's reconstruction error after every epoch of its own training. */
  readonly losses: readonly number[];
  /** k-means on the codes, before the clusters are improved. */
  readonly kmeans: Quality;
  /** Wall clock and processor time of all this; of a run that was taken up again, only since then. */
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/**
 * Clusters the training pictures without their classes: an autoencoder, k-means on its codes, IDEC. Kept as one step of the
 * run; inside it every epoch and every update can be taken up again.
 */
export async function clusterPictures(subject: Subject): Promise<Clustered> {
  const { run, name, seed, recipe, train } = subject;
  const folder = join(run.path, "checkpoints", name);
  const clustered = await run.step(`${name}-clustered`, async () => {
    const [begun, cpu] = [performance.now(), process.cpuUsage()];
    const random = generator(seed);
    const [ofAutoencoder, ofKmeans, ofClusters] = [random.split(), random.split(), random.split()];
    const { params, losses } = await pretrain(subject, ofAutoencoder, join(folder, "autoencoder"));
    const start = await run.step(`${name}-kmeans`, async () => {
      const codes = await codesOf(subject, params);
      const { clusters, kmeansStarts: starts, kmeansSample: sample } = recipe;
      return bestKmeans(codes, recipe.layers.at(-1)!, clusters, { starts, sample, random: ofKmeans });
    });
    const centres = tensor("float32", [recipe.clusters, recipe.layers.at(-1)!], start.centres);
    const improved = await improveClusters(subject, { ...params, centres }, ofClusters, join(folder, "clusters"));
    const { user, system } = process.cpuUsage(cpu);
    return {
      ...improved,
      losses,
      kmeans: judge(start.labels, train.labels),
      seconds: (performance.now() - begun) / 1000,
      cpuSeconds: (user + system) / 1e6,
    };
  });
  await rm(folder, { recursive: true, force: true });
  return clustered;
}

/** Codes of all training pictures, [n·d]. */
async function codesOf({ device, train }: Subject, params: AutoencoderParameters): Promise<Float32Array> {
  const runner = await device.compile(codeProgram(params), {
    state: ["encoder"],
    initial: { encoder: params.encoder },
  });
  try {
    const { code } = await training.predict({ runner, data: pixelDataset(train), batchSize: PASS_BATCH });
    return code!.data as Float32Array;
  } finally {
    await runner.release();
  }
}
