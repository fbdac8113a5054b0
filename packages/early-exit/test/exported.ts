import { generator } from "@exitkit/core-gpu";
import { toExitModel } from "../src/index.ts";
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
} as const;
