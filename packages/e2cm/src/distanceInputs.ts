import { InputError, ops, tensor } from "@exitkit/core-gpu";
import type { heads } from "@exitkit/early-exit";
import { distancesTo } from "./distances.ts";
import type { FittedExit } from "./exits.ts";
import { features } from "./features.ts";

/**
 * The normalised distances of an exit to its class means, d̂_k = d_k / m_k [n, k], as further inputs of a trained head that
 * reads the same tap: **E²CM + SDN** is `heads.mixedPool({ extra: distanceInputs(exit) })`. k(3d − 1)/2 more MACs
 * (`classMeansOverhead`), of which `countExitCosts` sees the matrix product's, k·d.
 *
 * @param exit A Euclidean exit, fitted on the network that the head is put on.
 * @throws InputError on an exit with a shared covariance.
 * Source: E²CM (IJCNN 2022), "E²CM + SDN", whose script feeds distances to the internal classifiers [S]; that they are the
 * normalised ones, beside the pooled features of the linear layer [D].
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
export function distanceInputs(exit: FittedExit): heads.Extra {
  if (exit.metric !== "euclidean") {
    const fix = 'Fit with metric: "euclidean".';
    throw new InputError("e2cm.distanceInputs", "the exit must be a Euclidean one", exit.metric, fix);
  }
  const { means, distances, map } = exit;
  const k = distances.length;
  const inverse = tensor(
    "float32",
    [1, k],
    distances.map((mean) => 1 / mean),
  );
  return { size: k, of: (x) => ops.mul(distancesTo(features(x, map), means, k), inverse) };
}
