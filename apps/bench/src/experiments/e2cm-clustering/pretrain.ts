import { type Generator, layers, optimisers, training } from "@exitkit/core-gpu";
import { pictureBytes } from "../../data/pictures.ts";
import { STATE } from "../../training/programs.ts";
import { type AutoencoderParameters, initAutoencoder } from "../../zoo/autoencoder.ts";
import { pixelDataset } from "./pixels.ts";
import { pretrainingProgram } from "./programs.ts";
import type { Subject } from "./subject.ts";

/** A trained autoencoder and its reconstruction error (mean square over pictures and pixels) after every epoch. */
export interface Pretrained {
  readonly params: AutoencoderParameters;
  readonly losses: readonly number[];
}

/**
 * Trains an autoencoder to reconstruct pictures: mean squared error, Adam. A checkpoint after every epoch lets a killed run
 * go on with the same bits.
 *
 * @param folder For checkpoints.
 */
export async function pretrain(subject: Subject, random: Generator, folder: string): Promise<Pretrained> {
  const { device, recipe, train, progress, name } = subject;
  const first = initAutoencoder(random.split(), [pictureBytes(train), ...recipe.layers]);
  const adam = optimisers.adam();
  const runner = await device.compile(pretrainingProgram(first, adam, recipe.batch), {
    state: STATE,
    initial: { params: first, optimiser: adam.init(first) },
  });
  const stage = progress.stage(`${name}: autoencoder`, recipe.pretrainingEpochs * train.n, "pictures");
  try {
    const { history } = await training.train({
      runner,
      data: pixelDataset(train),
      batchSize: recipe.batch,
      dropLast: true,
      epochs: recipe.pretrainingEpochs,
      generator: random.split(),
      learningRate: recipe.learningRate,
      checkpoint: { folder, keep: 1 },
      resume: true,
      onStep: ({ indices }) => stage.advance(indices.length),
    });
    return {
      params: layers.unflattenParameters(await runner.readState(), first, "params."),
      losses: history.map(({ metrics }) => metrics.loss!),
    };
  } finally {
    stage.done();
    await runner.release();
  }
}
