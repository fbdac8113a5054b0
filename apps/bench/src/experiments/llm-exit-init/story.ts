import { compileProgram, type Device, ops, spec, tensor, trace } from "@exitkit/core-gpu";
import { type DecoderStates, type heads, readStates } from "@exitkit/llm-exit-init";
import { tapOf } from "./epoch-zero.ts";
import type { Story } from "./schema.ts";
import type { Subject } from "./subject.ts";

/** The likeliest next tokens that an exit gives at every position of the story. */
export interface StoryExit {
  readonly name: string;
  readonly answers: readonly number[];
}

/** Runs the model over its story once; answers of heads and of the model itself follow from the states. */
export async function readStory(device: Device, { decoder, story }: Subject, layers: readonly number[]) {
  const windows = { tokens: Int32Array.from(story), length: story.length };
  const states: DecoderStates[] = [];
  for await (const batch of readStates(device, decoder, windows, { taps: layers.map(tapOf) })) states.push(batch);
  const [{ last, taps }] = states as [DecoderStates];
  const { output } = decoder;
  return {
    answersAt: (layer: number, head: heads.TokenHead) => answersOf(device, taps[tapOf(layer)]!, head, output.norm),
    answers: () => answersOf(device, last, { norm: "none", weight: output.weight, bias: output.bias }, output.norm),
  };
}

/** The story, each token with the first exit that would have said it right. */
export function colourStory({ name, decoder, story }: Subject, exits: readonly StoryExit[]): Story {
  return {
    model: name,
    exits: exits.map((exit) => exit.name),
    pieces: story.slice(1).map((token, at) => {
      const exit = exits.findIndex(({ answers }) => answers[at] === token);
      return { text: pieceOf(decoder.tokenizer!.piece(token) ?? ""), exit: exit < 0 ? null : exit };
    }),
  };
}

/** The answer at every position of [1, t, d]. */
async function answersOf(
  device: Device,
  states: DecoderStates["last"],
  head: Pick<heads.TokenHead, "norm" | "weight"> & { readonly bias?: heads.TokenHead["bias"] | undefined },
  norm: Subject["decoder"]["output"]["norm"],
): Promise<readonly number[]> {
  const program = trace(
    ({ x }) => {
      const { kind, weight, bias, epsilon } = norm;
      const zeros = tensor("float32", weight.shape);
      const normed =
        kind === "rms" ? ops.rmsNorm(x, weight, { epsilon }) : ops.layerNorm(x, weight, bias ?? zeros, { epsilon });
      const own = head.bias ?? tensor("float32", [head.weight.shape[0]!]);
      return { answers: ops.argMax(ops.linear(head.norm === "final" ? normed : x, head.weight, own), { axis: -1 }) };
    },
    { x: spec("float32", states.shape) },
  );
  const session = await compileProgram(device, program);
  try {
    const { answers } = await session.run({ x: states });
    return Array.from(answers!.data as BigInt64Array, Number);
  } finally {
    await session.release();
  }
}

/** Vocabularies mark a space by "▁" or "Ġ", a line's end by "Ċ" or as the byte 0x0A. */
function pieceOf(piece: string): string {
  return piece.replaceAll(/[▁Ġ]/g, " ").replaceAll(/Ċ|<0x0A>/g, "\n");
}
