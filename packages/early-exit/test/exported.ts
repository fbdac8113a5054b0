import { randomBatch, residualNetwork } from "./networks.ts";

/** What fixtures/exported was made from: a network whose blocks read the two blocks before and the input. */
export const exported = {
  network: residualNetwork({ exits: 4, channels: 4, seed: 3 }),
  batch: randomBatch(24),
  thresholds: [0.5, 0.5, 0.5],
};
