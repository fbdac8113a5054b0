import { cutStages, type Device, type Session } from "@exitkit/core-gpu";
import type { ExitModel } from "./exits.ts";
import { onlyOutputs } from "./outputs.ts";
import type { Engine } from "./staged-engine.ts";
import type { ExitStages } from "./stages.ts";

/**
 * Every exit switched off: the plain network in one session, with the last exit's answers and nothing that only other exits
 * need. It is loaded when the first such batch comes.
 */
export function openWhole(device: Device, { input, exits }: ExitModel, { model }: ExitStages): Engine {
  const { confidence, prediction } = exits.at(-1)!;
  let session: Promise<Session> | undefined;
  return {
    release: async () => (await session)?.release(),
    run: async (batch) => {
      session ??= device.load(cutStages(onlyOutputs(model, [confidence, prediction]), [])[0]!.model);
      const results = await (await session).run({ [input]: batch });
      const confidences = results[confidence]!.data as Float32Array;
      const predictions = results[prediction]!.data as BigInt64Array;
      const unsure = { confidences: new Float32Array(confidences.length), predictions };
      return [...exits.slice(1).map(() => unsure), { confidences, predictions }];
    },
  };
}
