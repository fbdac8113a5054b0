import { type Device, tensor } from "@exitkit/core-gpu";
import type { BatchLayout } from "./batchAxis.ts";
import type { ExitModel } from "./exits.ts";
import { fuse } from "./fuse.ts";
import type { Engine } from "./staged-engine.ts";
import type { ExitStages } from "./stages.ts";

/** The fast path: one session for the whole network; see {@link fuse}. */
export async function openFused(
  device: Device,
  exitModel: ExitModel,
  stages: ExitStages,
  layout: BatchLayout,
): Promise<Engine> {
  const { model, thresholds: input, answers } = fuse(exitModel, stages, layout.rowTensors);
  const session = await device.load(model);
  return {
    release: () => session.release(),
    run: async (batch, thresholds) => {
      const feed = input === null ? {} : { [input]: tensor("float32", [thresholds.length], thresholds) };
      const results = await session.run({ [exitModel.input]: batch, ...feed });
      return answers.map(({ confidence, prediction }) => ({
        confidences: results[confidence]!.data as Float32Array,
        predictions: results[prediction]!.data as BigInt64Array,
      }));
    },
  };
}
