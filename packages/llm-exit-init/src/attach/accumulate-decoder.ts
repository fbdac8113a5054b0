import { type Device, InputError, parseOptions, until } from "@exitkit/core-gpu";
import { z } from "zod";
import type { Decoder } from "../decoders/decoder.ts";
import type { HiddenUnits } from "../hidden-units.ts";
import type { StateNorm } from "../norms.ts";
import { openAccumulator } from "../statistics/accumulate.ts";
import type { TokenStatistics } from "../statistics/token-statistics.ts";
import { type PairsOptions, pairsSchema } from "../tokens/pairs.ts";
import { countWindows, type TokenWindows } from "../tokens/windows.ts";
import { readStates, statesAt } from "./read-states.ts";

/** Options of {@link accumulateDecoder}. */
export interface AccumulateDecoderOptions extends PairsOptions {
  /** What is summed up: a tap each, what is done to its states before (default `none`), and what is added to them (default nothing). */
  readonly exits: readonly { readonly tap: string; readonly norm?: StateNorm; readonly hidden?: HiddenUnits }[];
  /** Whether to keep Σ x xᵀ. Default true. */
  readonly gram?: boolean;
  /** Whether to keep Σ x zᵀ with the last states z, for the linear map. Default true. */
  readonly cross?: boolean;
  /** Windows that go through the decoder together. Default 8. */
  readonly batchSize?: number;
  /** `[exits]`: statistics of an earlier pass to go on from. */
  readonly resume?: readonly TokenStatistics[];
  /** What the statistics of an exit may take, in bytes. Default 4 GiB. */
  readonly maxBytes?: number;
  /** Ends the call between two batches: it rejects with the signal's reason, streams are closed, the device can be used on. */
  readonly signal?: AbortSignal;
  /** Called after every batch with the number of windows so far. */
  readonly onProgress?: (windows: number) => void;
}

const caller = "llm-exit-init.accumulateDecoder";
const units = z.custom<HiddenUnits>((value) => typeof value === "object" && value !== null);
const schema = pairsSchema.extend({
  exits: z
    .array(
      z.strictObject({ tap: z.string(), norm: z.enum(["none", "final"]).default("none"), hidden: units.optional() }),
    )
    .min(1),
  gram: z.boolean().default(true),
  cross: z.boolean().default(true),
  batchSize: z.int().min(1).optional(),
  resume: z.array(z.custom<TokenStatistics>((value) => typeof value === "object" && value !== null)).optional(),
  maxBytes: z.number().positive().optional(),
  signal: z.instanceof(AbortSignal).optional(),
  onProgress: z.custom<(windows: number) => void>((value) => typeof value === "function").optional(),
});

/**
 * Statistics of some exits of a decoder from one pass over text: see `accumulateTokens`. Their `source` is the tap.
 *
 * @returns `[exits]` in the order given.
 * @throws InputError as `accumulateTokens` and `readStates`, and where `resume` is not one for each exit.
 */
export async function accumulateDecoder(
  device: Device,
  decoder: Decoder,
  windows: TokenWindows,
  options: AccumulateDecoderOptions,
): Promise<readonly TokenStatistics[]> {
  const { exits, gram, cross, batchSize, resume, maxBytes, signal, onProgress, skip, border } = parseOptions(
    caller,
    schema,
    options,
  );
  if (resume !== undefined && resume.length !== exits.length) {
    throw new InputError(caller, `resume must have statistics of all ${exits.length} exits`, `${resume.length}`);
  }
  const finalNorm = decoder.output.norm;
  const accumulators = exits.map(({ tap, norm, hidden }, at) =>
    openAccumulator(caller, device, {
      ...{ vocabulary: decoder.config.vocabulary, source: tap, norm, finalNorm, gram, cross, skip },
      ...(border === undefined ? {} : { border }),
      ...(hidden === undefined ? {} : { hidden }),
      ...(resume === undefined ? {} : { resume: resume[at]! }),
      ...(maxBytes === undefined ? {} : { maxBytes }),
    }),
  );
  const taps = [...new Set(exits.map(({ tap }) => tap))];
  const reading = { taps, ...(batchSize === undefined ? {} : { batchSize }) };
  let done = 0;
  try {
    for await (const states of until(signal, readStates(device, decoder, windows, reading))) {
      for (const [at, { tap }] of exits.entries()) await accumulators[at]!.add(statesAt(states, tap));
      done += countWindows({ tokens: states.tokens, length: windows.length });
      onProgress?.(done);
    }
    return accumulators.map((accumulator) => accumulator.result());
  } finally {
    for (const accumulator of accumulators) await accumulator.release();
  }
}
