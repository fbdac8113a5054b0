import { type Device, type Session, type Tensor, tensor } from "@exitkit/core-gpu";
import type { BatchLayout } from "../exits/batch-axis.ts";
import type { ExitModel } from "../exits/exits.ts";
import type { ExitStages } from "../exits/stages.ts";
import { type Engine, lazy, releaseAll } from "./engine.ts";
import { type Fused, fuse } from "./fuse.ts";

/**
 * The fast path: one session for the whole network; see {@link fuse}. A second one, without compaction, is loaded when
 * the first batch of a single sample comes.
 */
export async function openFused(
  device: Device,
  exitModel: ExitModel,
  stages: ExitStages,
  layout: BatchLayout,
): Promise<Engine> {
  const load = async (rowTensors: BatchLayout["rowTensors"]): Promise<Loaded> => {
    const fused = fuse(exitModel, stages, rowTensors);
    return { fused, session: await device.load(fused.model) };
  };
  const many = await load(layout.rowTensors);
  const single = lazy(
    () => load(new Map()),
    ({ session }) => session.release(),
  );
  return {
    release: () => releaseAll([many.session, single]),
    run: async (batch, thresholds) => {
      const alone = batch.shape[0] === 1 && layout.rowTensors.size > 0;
      const { fused, session } = alone ? await single.get() : many;
      const feeds: Record<string, Tensor> = { [exitModel.input]: batch };
      for (const [j, name] of fused.thresholds.entries()) {
        feeds[name] = tensor("float32", [1], thresholds.subarray(j, j + 1));
      }
      const results = await session.run(feeds);
      return fused.answers.map(({ confidence, prediction }) => ({
        confidences: results[confidence]!.data as Float32Array,
        predictions: results[prediction]!.data as BigInt64Array,
      }));
    },
  };
}

interface Loaded {
  readonly fused: Fused;
  readonly session: Session;
}
