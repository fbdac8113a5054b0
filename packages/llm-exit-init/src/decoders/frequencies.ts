import { InputError } from "@exitkit/core-gpu";
import type { Fields } from "../weights/fields.ts";

/** Features of a head that may turn: a file says any number, and each is a table's entry before a weight is looked at. */
const MOST_TURNING = 65_536;

/**
 * `[r/2]`: base^(−2i/r), the angle of pair i for each step of position. Source: RoFormer, https://arxiv.org/abs/2104.09864
 *
 * @throws InputError where r is more than any decoder's.
 */
export function rotaryFrequencies(caller: string, r: number, base: number): readonly number[] {
  if (r > MOST_TURNING) {
    throw new InputError(caller, `at most ${MOST_TURNING} features of a head may turn with the position`, String(r));
  }
  return Array.from({ length: r / 2 }, (_, i) => base ** ((-2 * i) / r));
}

/**
 * Frequencies as a `config.json` says, with its scaling: none, `linear` (÷ factor) or `llama3` (long waves ÷ factor, short ones
 * as they are, a straight line between). Since transformers 5 all of it is in `rope_parameters`, before in `rope_theta` and
 * `rope_scaling`.
 *
 * @throws InputError on another scaling.
 */
export function configuredFrequencies(caller: string, config: Fields, r: number, theta: number): readonly number[] {
  const named = config.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const scaling = config.below(named);
  const base = scaling.number("rope_theta", config.number("rope_theta", theta));
  const plain = rotaryFrequencies(caller, r, base);
  const kind = scaling.text("rope_type", scaling.text("type", "default"));
  if (kind === "default") return plain;
  if (kind === "linear") {
    const factor = scaling.number("factor");
    return plain.map((frequency) => frequency / factor);
  }
  if (kind !== "llama3") {
    throw new InputError(
      caller,
      `the rotary scaling of ${config.source} must be default, linear or llama3`,
      `"${kind}"`,
    );
  }
  const factor = scaling.number("factor");
  const low = scaling.number("low_freq_factor");
  const high = scaling.number("high_freq_factor");
  const context = scaling.number("original_max_position_embeddings");
  return plain.map((frequency) => {
    const turns = (context * frequency) / (2 * Math.PI);
    if (turns > high) return frequency;
    if (turns < low) return frequency / factor;
    const share = (turns - low) / (high - low);
    return ((1 - share) * frequency) / factor + share * frequency;
  });
}
