import { generator } from "@exitkit/core-gpu";
import { cascade, toExitModel } from "../src/index.ts";
import { classifier } from "./classifiers.ts";
import { pictures, tinyBackbone, tinyNetwork, tinyParameters } from "./exit-networks.ts";
import { randomBatch, residualNetwork } from "./networks.ts";

const heads = tinyNetwork(tinyBackbone(tinyParameters(4)));

/** What fixtures/exported was made from. */
export const exported = {
  /** A network whose blocks read the two blocks before and the input. */
  residual: {
    network: residualNetwork({ exits: 4, channels: 4, seed: 3 }),
    batch: randomBatch(24),
    thresholds: [0.5, 0.5, 0.5],
  },
  /** A backbone with a head of each kind, of which the most confident answers for those that none is sure of. */
  heads: {
    network: toExitModel(heads, heads.init(generator(2)), { whenNoneIsSure: "mostConfident" }),
    batch: pictures(24).x,
    thresholds: [0.3616, 0.44, 0.3566],
  },
  /** Whole networks one after another, answers averaged; one takes smaller pictures, another has a normalisation of its own. */
  cascade: {
    network: cascade([
      { name: "small", model: classifier(1, 4, { size: 3 }), temperature: 2 },
      { name: "medium", model: classifier(2, 8) },
      {
        name: "normalised",
        model: classifier(3, 8),
        normalise: { mean: [0.1, 0, 0.2], standardDeviation: [2, 1, 0.5] },
      },
      { name: "large", model: classifier(4, 16) },
    ]),
    batch: randomBatch(24),
    thresholds: [0.6, 0.5012, 0.4],
  },
} as const;
