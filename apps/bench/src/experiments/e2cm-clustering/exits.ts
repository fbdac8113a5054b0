import { type Model, programToModel } from "@exitkit/core-gpu";
import { exitRecord, type FittedExits, fit, recordScores } from "@exitkit/e2cm";
import type { ExitRecord } from "@exitkit/early-exit";
import { type Pictures, slicePictures } from "../../data/pictures.ts";
import { argMaxRows } from "../../measuring/answers.ts";
import { inStage } from "../../measuring/steps.ts";
import { PASS_BATCH } from "./assign.ts";
import type { Clustered } from "./cluster.ts";
import { labelledBatches } from "./pixels.ts";
import { type ClusterNetwork, clusterProgram, layerName } from "./programs.ts";
import type { Subject } from "./subject.ts";

/** A clustering network with exits, and a record of all test pictures; its labels are the full network's own clusters. */
export interface ClusterExits {
  readonly fitted: FittedExits;
  readonly record: ExitRecord;
}

/** The clustering network as an ONNX model: `x` [n, pixels] to the hidden layers `layer1`, … and `scores` [n, k]. */
export function clusterModel({ encoder, centres }: ClusterNetwork): Model {
  return programToModel(clusterProgram({ encoder, centres }), { constants: { encoder, centres } });
}

/**
 * Gives a clustering network exits by cluster means, the paper's unsupervised variant: a training picture's class is the
 * cluster the full network puts it into, and after every hidden layer of the encoder an exit answers the nearest mean of
 * the layer's full output. Classes are not looked at.
 *
 * Source: E²CM (IJCNN 2022) [S: the idea; D: the formula].
 */
export async function clusterExits(
  subject: Subject,
  { network, labels }: Clustered,
  model: Model,
): Promise<ClusterExits> {
  const { device, recipe, train, test, run, progress, name } = subject;
  const exits = network.encoder.slice(0, -1).map((_, index) => layerName(index));
  return run.step(`${name}-exits`, () =>
    inStage(progress, `${name}: exits`, 2 * (train.n + test.n), "pictures", async (advance) => {
      const counted = (pictures: Pictures, clusters: Int32Array) =>
        labelledBatches(pictures, clusters, PASS_BATCH, advance);
      const own = await clustersOf(subject, model, test);
      advance(test.n);
      const half = halfOf(test.n);
      const fitted = await fit(model, () => counted(train, labels), {
        classes: recipe.clusters,
        metric: "euclidean",
        taps: exits,
        calibration: labelledBatches(slicePictures(test, 0, half), own.subarray(0, half), PASS_BATCH),
        device,
      });
      const record = exitRecord(fitted, await recordScores(model, fitted, counted(test, own), { device }));
      return { fitted: { ...fitted, operatingPoints: [] }, record: { ...record, labels: record.predictions.at(-1)! } };
    }),
  );
}

/** Samples of the first of two halves. */
export function halfOf(n: number): number {
  return Math.floor(n / 2);
}

/** The cluster the plain network puts every picture into. */
async function clustersOf({ device, recipe }: Subject, model: Model, pictures: Pictures): Promise<Int32Array> {
  const session = await device.load(model);
  const clusters = new Int32Array(pictures.n);
  let at = 0;
  try {
    for await (const { x } of labelledBatches(pictures, pictures.labels, PASS_BATCH)) {
      const { scores } = await session.run({ x }, { outputs: ["scores"] });
      const labels = argMaxRows(scores!.data as Float32Array, recipe.clusters);
      clusters.set(labels, at);
      at += labels.length;
    }
    return clusters;
  } finally {
    await session.release();
  }
}
