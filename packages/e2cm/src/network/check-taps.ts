import { cutStages, InputError } from "@exitkit/core-gpu";
import { type Network, onlyOutputs, sampleShape } from "./network.ts";

/**
 * Refuses exits that the network cannot be stopped at: a tensor it does not have, one without the batch as its first
 * dimension, one that its output does not need, or exits out of order.
 *
 * @param taps The network's output may be the last of them.
 */
export function checkTaps(caller: string, network: Network, taps: readonly string[]): void {
  for (const tap of taps) sampleShape(caller, network, tap);
  const early = taps.at(-1) === network.output ? taps.slice(0, -1) : taps;
  try {
    cutStages(
      onlyOutputs(network.model, [network.output]),
      early.map((tap) => [tap]),
    );
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const reason = error.message.slice(error.caller.length + 2).replace(/\.$/, "");
    throw new InputError(
      caller,
      "exits must be places on the way to the output where the network can be cut, in order",
      `${taps.map((tap) => `"${tap}"`).join(", ")}: ${reason}`,
      undefined,
      error,
    );
  }
}
