import { cutStages, type Device } from "@exitkit/core-gpu";
import type { ExitModel } from "../exits/exits.ts";
import { onlyOutputs } from "../exits/outputs.ts";
import type { ExitStages } from "../exits/stages.ts";
import { type Engine, lazy } from "./engine.ts";

/**
 * Every exit switched off: the plain network in one session, with the last exit's answers and nothing that only other exits
 * need. It is loaded when the first such batch comes.
 */
export function openWhole(device: Device, { input, exits }: ExitModel, { model }: ExitStages): Engine {
  const { confidence, prediction } = exits.at(-1)!;
  const loaded = lazy(
    async () => device.load(cutStages(onlyOutputs(model, [confidence, prediction]), [])[0]!.model),
    (session) => session.release(),
  );
  return {
    release: loaded.release,
    run: async (batch) => {
      const session = await loaded.get();
      const results = await session.run({ [input]: batch });
      const confidences = results[confidence]!.data as Float32Array;
      const predictions = results[prediction]!.data as BigInt64Array;
      const unsure = { confidences: new Float32Array(confidences.length), predictions };
      return [...exits.slice(1).map(() => unsure), { confidences, predictions }];
    },
  };
}
