import { checkArguments, ops, parseOptions, tensor, type Value } from "@exitkit/core-gpu";
import type { heads } from "@exitkit/early-exit";
import { z } from "zod";
import { type ClassMeansExit, type FittedExit, linearScores, type SharedCovarianceExit } from "../exits/exits.ts";
import { features } from "../network/features.ts";
import { distancesTo } from "./distances.ts";

/** Keeps rows of equal distances from a division by nothing: a millionth of d̂, squared. */
const SMALLEST_VARIANCE = 1e-12;

/** Options of {@link distanceInputs}. */
export interface DistanceInputsOptions {
  /** Whether a sample's distances are standardised over the classes. Default true; false gives v itself. */
  readonly standardise?: boolean;
}

const optionsSchema = z.strictObject({ standardise: z.boolean().default(true) });

/**
 * The distances of an exit to its class means as further inputs of a trained head that reads the same tap: **E²CM + SDN** is
 * `heads.mixedPool({ extra: distanceInputs(exit) })`.
 *
 * They are v, [n, k], standardised over the classes, sample by sample: z_k = (v_k − μ) / σ, with μ and σ the mean and the
 * deviation of the sample's k values. Of a Euclidean exit v_k = d̂_k = d_k / m_k, the paper's normalised distances: they lie
 * near 1 for all classes, a few percent apart, and move as a whole with the features' length, so that a linear layer learns
 * little of them as they are. With a shared covariance v_k is the class's log posterior, −½ the squared distance in that
 * metric plus the log prior, up to a constant of the sample, which standardising removes.
 *
 * MACs beside those of the head: of a Euclidean exit k(3d − 1)/2 (`classMeansOverhead`), of which `countExitCosts` sees the
 * matrix product's k·d; with a shared covariance the features' and the linear layer's, of which it sees all but pooling.
 *
 * @param exit Fitted on the network that the head is put on.
 * @throws InputError on an unknown option.
 * Source: E²CM (IJCNN 2022), "E²CM + SDN", whose script feeds distances to the internal classifiers [S]; that they are the
 * normalised ones, beside the pooled features of the linear layer, and standardised [D]. Differs: the shared covariance.
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
  checkArguments("e2cm.distanceInputs", { exit: [exit, { metric: "a string", tap: "a string" }] });
  const { standardise } = parseOptions("e2cm.distanceInputs", optionsSchema, options);
  const { size, of } = exit.metric === "euclidean" ? normalisedDistances(exit) : logPosteriors(exit);
  return { size, of: standardise ? (x) => overClasses(of(x)) : of };
}

function normalisedDistances({ means, distances, map }: ClassMeansExit): heads.Extra {
  const k = distances.length;
  const inverse = tensor(
    "float32",
    [1, k],
    distances.map((mean) => 1 / mean),
  );
  return { size: k, of: (x) => ops.mul(distancesTo(features(x, map), means, k), inverse) };
}

function logPosteriors(exit: SharedCovarianceExit): heads.Extra {
  return { size: exit.bias.length, of: (x) => linearScores(x, exit) };
}

/** (v − mean) / deviation of each row; of equal values 0. */
function overClasses(values: Value): Value {
  const centred = ops.sub(values, ops.mean(values, { axes: [1], keepDimensions: true }));
  const variance = ops.mean(ops.mul(centred, centred), { axes: [1], keepDimensions: true });
  return ops.div(centred, ops.sqrt(ops.add(variance, SMALLEST_VARIANCE)));
}
