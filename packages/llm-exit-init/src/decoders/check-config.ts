import { InputError } from "@exitkit/core-gpu";
import type { DecoderConfig } from "./config.ts";

/** @throws InputError on sizes that do not go together. */
export function checkConfig(caller: string, source: string, config: DecoderConfig): DecoderConfig {
  const { heads, keyHeads, headWidth, positions, norm } = config;
  const refuse = (expectation: string, actual: string) => new InputError(caller, `${source}: ${expectation}`, actual);
  if (!Number.isInteger(headWidth))
    throw refuse("the heads must divide the width", `${config.width} and ${heads} heads`);
  if (heads % keyHeads !== 0) throw refuse("key heads must divide the heads", `${keyHeads} and ${heads}`);
  if (!(norm.epsilon > 0)) throw refuse("the norm's epsilon must be positive", String(norm.epsilon));
  if (positions.kind === "rotary") {
    const turning = 2 * positions.frequencies.length;
    const known = positions.frequencies.every((frequency) => Number.isFinite(frequency));
    if (!Number.isInteger(turning) || turning < 2 || turning > headWidth || !known) {
      throw refuse(`an even number of 2 to ${headWidth} features of a head must turn`, String(turning));
    }
  }
  return config;
}
