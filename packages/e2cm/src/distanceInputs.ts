import { InputError, ops, parseOptions, tensor, type Value } from "@exitkit/core-gpu";
import type { heads } from "@exitkit/early-exit";
import { z } from "zod";
import { distancesTo } from "./distances.ts";
import type { FittedExit } from "./exits.ts";
import { features } from "./features.ts";

/** Options of {@link distanceInputs}. */
export interface DistanceInputsOptions {
  /** Whether a sample's distances are standardised over the classes. Default true; false gives d̂ itself. */
  readonly standardise?: boolean;
}

/** Keeps rows of equal distances from a division by nothing: a millionth of d̂, squared. */
const SMALLEST_VARIANCE = 1e-12;

const optionsSchema = z.strictObject({ standardise: z.boolean().default(true) });

/**
 * The normalised distances of an exit to its class means, d̂_k = d_k / m_k, as further inputs of a trained head that
 * reads the same tap: **E²CM + SDN** is `heads.mixedPool({ extra: distanceInputs(exit) })`. They are standardised over the
 * classes, sample by sample: z_k = (d̂_k − μ) / σ with μ and σ the mean and the deviation of the sample's k normalised
 * distances, [n, k]. d̂ itself lies near 1 for all classes, a few percent apart, and moves as a whole with the features'
 * length: a linear layer learns little of it. k(3d − 1)/2 more MACs (`classMeansOverhead`), of which `countExitCosts` sees
 * the matrix product's, k·d.
 *
 * @param exit A Euclidean exit, fitted on the network that the head is put on.
 * @throws InputError on an exit with a shared covariance, or an unknown option.
 * Source: E²CM (IJCNN 2022), "E²CM + SDN", whose script feeds distances to the internal classifiers [S]; that they are the
 * normalised ones, beside the pooled features of the linear layer, and standardised [D].
 * @example
 * ```ts
 * import { generator, readModelFile, readSafetensorsFile, rows } from "@exitkit/core-gpu";
 * import { distanceInputs, fit } from "@exitkit/e2cm";
 * import { exitNetwork, heads, importBackbone } from "@exitkit/early-exit";
 * const { train, trainLabels } = (await readSafetensorsFile("pictures.safetensors")).tensors;
 * const model = await readModelFile("network.onnx");
 * const labels = trainLabels!.data as Int32Array;
 * const batches = (from: number, to: number) => [{ x: rows(train!, from, to), y: labels.subarray(from, to) }];
 * const { exits } = await fit(model, batches(0, 180), {
 *   classes: 4,
 *   metric: "euclidean",
 *   calibration: batches(180, 240),
 * });
 * const network = exitNetwork(
 *   importBackbone(model, { taps: exits.map(({ tap }) => tap) }),
 *   exits.map((exit) => ({ tap: exit.tap, head: heads.mixedPool({ extra: distanceInputs(exit) }) })),
 * );
 * console.assert(network.init(generator(1)).exits.length === exits.length);
 * ```
 */
export function distanceInputs(exit: FittedExit, options?: DistanceInputsOptions): heads.Extra {
  const caller = "e2cm.distanceInputs";
  const { standardise } = parseOptions(caller, optionsSchema, options);
  if (exit.metric !== "euclidean") {
    const fix = 'Fit with metric: "euclidean".';
    throw new InputError(caller, "the exit must be a Euclidean one", exit.metric, fix);
  }
  const { means, distances, map } = exit;
  const k = distances.length;
  const inverse = tensor(
    "float32",
    [1, k],
    distances.map((mean) => 1 / mean),
  );
  const normalised = (x: Value) => ops.mul(distancesTo(features(x, map), means, k), inverse);
  return { size: k, of: standardise ? (x) => overClasses(normalised(x)) : normalised };
}

/** (v − mean) / deviation of each row; of equal values 0. */
function overClasses(values: Value): Value {
  const centred = ops.sub(values, ops.mean(values, { axes: [1], keepDimensions: true }));
  const variance = ops.mean(ops.mul(centred, centred), { axes: [1], keepDimensions: true });
  return ops.div(centred, ops.sqrt(ops.add(variance, SMALLEST_VARIANCE)));
}
