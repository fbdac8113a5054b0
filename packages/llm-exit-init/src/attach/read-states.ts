import {
  checkArguments,
  compileProgram,
  type Device,
  InputError,
  layers,
  onnx,
  parseOptions,
  spec,
  type Tensor,
  type TreeRecord,
  tensor,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import { z } from "zod";
import type { Decoder } from "../decoders/decoder.ts";
import type { StatesBatch } from "../states.ts";
import { countWindows, type TokenWindows, takeWindows } from "../tokens/windows.ts";

/** Options of {@link readStates}. */
export interface ReadStatesOptions {
  /** Taps of the decoder to be read; `block3` is the state after the third block. Default: all. */
  readonly taps?: readonly string[];
  /** Windows that go through the decoder together. Default 8. */
  readonly batchSize?: number;
  /** Ends the stream between two batches: it rejects with the signal's reason, the device can be used on. */
  readonly signal?: AbortSignal;
}

/** The states of a batch of windows. */
export interface DecoderStates {
  /** `[n · t]` */
  readonly tokens: Int32Array;
  /** For each tap float32 `[n, t, d]`. */
  readonly taps: Readonly<Record<string, Tensor<"float32">>>;
  /** float32 `[n, t, d]`: the last states after the final norm. */
  readonly last: Tensor<"float32">;
}

const caller = "llm-exit-init.readStates";
const schema = z.strictObject({
  taps: z.array(z.string()).min(1).optional(),
  batchSize: z.int().min(1).default(8),
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * Runs a decoder over windows of text and gives its states, batch by batch: one forward pass, whatever is read.
 *
 * @throws InputError on an option that is unknown or out of range, a tap that the decoder does not have, windows longer than its context,
 * or tokens outside its vocabulary.
 */
export async function* readStates(
  device: Device,
  decoder: Decoder,
  windows: TokenWindows,
  options?: ReadStatesOptions,
): AsyncGenerator<DecoderStates> {
  checkArguments("llm-exit-init.readStates", {
    device: [device, "an open device"],
    decoder: [decoder, { taps: "a list", apply: "a function" }],
    windows: [windows, { tokens: "numbers or bigints", length: "a number" }],
  });
  const { taps = decoder.taps, batchSize, signal } = parseOptions(caller, schema, options);
  checkTaps(caller, decoder, taps);
  checkWindows(caller, decoder, windows);
  const { length: t } = windows;
  const program = trace(
    (given) => {
      const result = decoder.apply(given.params as TreeRecord<Value>, given.x);
      return { taps: taps.map((tap) => result.taps[tap]!), last: result.last };
    },
    { params: layers.specsOf<TreeRecord<Tensor>>(decoder.params), x: spec("int32", ["n", t]) },
  );
  const session = await compileProgram(device, program, { constants: { params: decoder.params } });
  try {
    for (let from = 0; from < countWindows(windows); from += batchSize) {
      signal?.throwIfAborted();
      const { tokens } = takeWindows(windows, from, Math.min(from + batchSize, countWindows(windows)));
      const outputs = await session.run({ x: tensor("int32", [tokens.length / t, t], tokens) });
      const states = taps.map((tap, at) => [tap, outputs[`taps.${at}`] as Tensor<"float32">] as const);
      yield { tokens, taps: Object.fromEntries(states), last: outputs.last as Tensor<"float32"> };
    }
  } finally {
    await session.release();
  }
}

/** States of one tap, as `takeRows` and `judgeHeads` read them; see {@link readStates}. */
export async function* readTap(
  device: Device,
  decoder: Decoder,
  windows: TokenWindows,
  tap: string,
  options?: Omit<ReadStatesOptions, "taps">,
): AsyncGenerator<StatesBatch> {
  for await (const states of readStates(device, decoder, windows, { ...options, taps: [tap] })) {
    yield statesAt(states, tap);
  }
}

/** What one tap's statistics and heads are made of. */
export function statesAt(states: DecoderStates, tap: string): StatesBatch {
  checkArguments("llm-exit-init.statesAt", { states: [states, { taps: "an object" }], tap: [tap, "a string"] });
  return { states: states.taps[tap]!, tokens: states.tokens, last: states.last };
}

/** @throws InputError naming a tap that the decoder does not have. */
export function checkTaps(of: string, decoder: Decoder, taps: readonly string[]): void {
  const unknown = taps.find((tap) => !decoder.taps.includes(tap));
  if (unknown === undefined) return;
  const expectation = `an exit must read a tap of the decoder, ${decoder.taps[0]} to ${decoder.taps.at(-1)}`;
  throw new InputError(of, expectation, onnx.quoted(String(unknown)), onnx.suggestion(String(unknown), decoder.taps));
}

/** @throws InputError on windows longer than the context, or a token outside the vocabulary. */
function checkWindows(of: string, { config }: Decoder, windows: TokenWindows): void {
  const { vocabulary, context } = config;
  if (!(windows?.length <= context)) {
    const fix = "Cut the text into shorter windows.";
    throw new InputError(of, `windows may have ${context} tokens, the model's context`, `${windows?.length}`, fix);
  }
  const at = windows.tokens.findIndex((token) => !(token >= 0 && token < vocabulary));
  if (at < 0) return;
  const fix = "Use the tokenizer that belongs to the model.";
  throw new InputError(of, `tokens must be 0 … ${vocabulary - 1}, the model's`, `${windows.tokens[at]} at ${at}`, fix);
}
