import { addTaps, attachModel, type Device, type Model, ops, programToModel, spec, trace } from "@exitkit/core-gpu";
import type { ClassMeansExit } from "../exits/exits.ts";
import { type Batches, checkBatch } from "../network/batches.ts";
import { features } from "../network/features.ts";
import type { Network } from "../network/network.ts";
import { distancesTo } from "./distances.ts";

/**
 * m_{j,k} = (1/N) Σ_i ‖x_j(i) − c_{j,k}‖: the mean distance of all N samples of a stream to every class mean, for every exit.
 * Memory does not grow with N; batches are added up in float64.
 *
 * @returns For every exit, [k].
 * Source: E²CM (IJCNN 2022), distance normalisation by the training set [S].
 */
export async function meanDistances(
  caller: string,
  device: Device,
  network: Network,
  exits: readonly ClassMeansExit[],
  batches: Batches,
  onProgress?: (samples: number) => void,
): Promise<readonly Float32Array[]> {
  let model: Model = network.model;
  const names = exits.map((exit, index) => {
    const classes = exit.distances.length;
    const program = trace(
      ({ x }) => ({
        sum: ops.sum(distancesTo(features(x, exit.map), exit.means, classes), { axes: [0], keepDimensions: false }),
      }),
      { x: spec("float32", ["n", ...exit.map.shape]) },
    );
    const part = programToModel(program, { opset: network.opset });
    const attached = attachModel(model, part, { prefix: `e2cm/distances${index}`, inputs: { x: exit.tap } });
    model = attached.model;
    return attached.outputs.sum!;
  });
  const totals = exits.map((exit) => new Float64Array(exit.distances.length));
  const session = await device.load(addTaps(model, names));
  const input = session.inputs.find(({ name }) => name === network.input)!;
  let samples = 0;
  let index = 0;
  try {
    for await (const given of batches) {
      const batch = checkBatch(caller, given, input, totals[0]!.length, index++);
      if (batch.y.length === 0) continue;
      const results = await session.run({ [network.input]: batch.x }, { outputs: names });
      names.forEach((name, exit) => {
        const sums = results[name]!.data as Float32Array;
        for (let k = 0; k < sums.length; k++) totals[exit]![k]! += sums[k]!;
      });
      samples += batch.y.length;
      onProgress?.(samples);
    }
  } finally {
    await session.release();
  }
  return totals.map((total) => Float32Array.from(total, (sum) => sum / samples));
}
