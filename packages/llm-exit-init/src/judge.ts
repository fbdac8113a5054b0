import { type Device, InputError, ops, parseOptions, spec, until } from "@exitkit/core-gpu";
import { z } from "zod";
import { type HeadRunner, openHeads } from "./calibration/head-runner.ts";
import { alignedRows } from "./calibration/rows.ts";
import { copy } from "./heads/copy.ts";
import type { TokenHead } from "./heads/token-head.ts";
import { checkOutputLayer, type OutputLayer } from "./output-layer.ts";
import { checkStates, plainStates, type StatesBatches } from "./states.ts";
import { type PairsOptions, pairsSchema } from "./tokens/pairs.ts";

/** How well a head predicts the next token. */
export interface TokenScore {
  readonly name: string;
  /** Share of positions whose next token the head foretold, 0 to 1. */
  readonly accuracy: number;
  /** Mean cross entropy, nats a token. */
  readonly crossEntropy: number;
  /** Share of positions where head and full model answer the same, 0 to 1. */
  readonly agreement: number;
}

/** What {@link judgeHeads} gives. */
export interface TokenScores {
  /** Positions judged, m. */
  readonly tokens: number;
  /** `[heads]` in the order given. */
  readonly heads: readonly TokenScore[];
  /** The model's own answers; its agreement is 1. */
  readonly full: TokenScore;
}

/** Options of {@link judgeHeads}. */
export interface JudgeHeadsOptions extends PairsOptions {
  /** The model's output layer: who the heads are to agree with. */
  readonly output: OutputLayer;
  /** Ends the call between two batches: it rejects with the signal's reason, streams are closed, the device can be used on. */
  readonly signal?: AbortSignal;
}

const caller = "llm-exit-init.judgeHeads";
const schema = pairsSchema.extend({
  output: z.custom<OutputLayer>((value) => typeof value === "object" && value !== null, "must be an output layer"),
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * Accuracy, cross entropy and agreement with the full model of some heads at one tap, on text; sums in float64, means over tokens
 * (not over windows).
 *
 * @param batches With the last states, after the final norm.
 * @throws InputError on an unknown option, batches without last states or as `accumulateTokens` refuses them, heads of another width or
 * vocabulary than the states or the model, or no pair at all.
 */
export async function judgeHeads(
  device: Device,
  heads: readonly TokenHead[],
  batches: StatesBatches,
  options: JudgeHeadsOptions,
): Promise<TokenScores> {
  const { output, signal, ...pairs } = parseOptions(caller, schema, options);
  if (!Array.isArray(heads) || heads.length === 0) throw new InputError(caller, "at least one head is needed", "none");
  const { v, d: last } = checkOutputLayer(caller, output);
  const wrong = heads.find(({ weight }) => weight?.shape[0] !== v);
  if (wrong !== undefined) {
    const actual = `${wrong.weight?.shape[0]} in "${wrong.name}"`;
    throw new InputError(caller, `heads must be of the model's vocabulary of ${v}`, actual);
  }
  const own = await openScores(device, heads, output, true);
  const model = await openScores(device, [{ ...copy(output), norm: "none" }], output, false);
  const positions = { skip: pairs.skip, ...(pairs.border === undefined ? {} : { border: pairs.border }) };
  const sums = heads.map(() => [0, 0, 0]);
  const full = [0, 0];
  let [tokens, index] = [0, 0];
  try {
    for await (const given of until(signal, batches)) {
      const batch = plainStates(given);
      checkStates(caller, batch, { vocabulary: v, last });
      const states = alignedRows(batch, batch.states, positions);
      const answers = new Int32Array(states.next.length);
      await model.run(alignedRows(batch, batch.last!, positions), {}, (outputs, m, from) => {
        full[0]! += Number(outputs.right0!.data[0]);
        full[1]! += Number(outputs.loss0!.data[0]);
        for (let row = 0; row < m; row++) answers[from + row] = Number(outputs.answers!.data[row]);
      });
      const add = (outputs: Parameters<Parameters<HeadRunner["run"]>[2]>[0]) => {
        sums.forEach((sum, r) => {
          sum[0]! += Number(outputs[`right${r}`]!.data[0]);
          sum[1]! += Number(outputs[`loss${r}`]!.data[0]);
          sum[2]! += Number(outputs[`same${r}`]!.data[0]);
        });
      };
      await own.run(states, {}, add, { full: answers });
      if (![full, ...sums].flat().every(Number.isFinite)) {
        const fix = "Check the states of that batch, the heads and the output layer.";
        throw new InputError(caller, "logits must be finite", `NaN or infinity in batch ${index}`, fix);
      }
      index++;
      tokens += states.next.length;
    }
  } finally {
    await own.release();
    await model.release();
  }
  if (tokens === 0) throw new InputError(caller, "at least one token with a next one is needed", "none");
  const score = (name: string, [right, loss, same]: readonly number[]): TokenScore => ({
    name,
    accuracy: right! / tokens,
    crossEntropy: loss! / tokens,
    agreement: same! / tokens,
  });
  return {
    tokens,
    heads: heads.map(({ name }, r) => score(name, sums[r]!)),
    full: score("full model", [...full, tokens]),
  };
}

async function openScores(device: Device, heads: readonly TokenHead[], output: OutputLayer, agree: boolean) {
  const more = agree ? { full: spec("int64", ["m"]) } : {};
  return openHeads(caller, device, heads, output.norm, more, ({ logits, next, more: given }) => {
    const outputs: Record<string, ReturnType<typeof ops.sum>> = {};
    logits.forEach((own, r) => {
      const answer = ops.argMax(own, { axis: 1 });
      const share = (of: typeof next) => ops.sum(ops.cast(ops.equal(answer, of), "float32"));
      outputs[`right${r}`] = share(next);
      outputs[`loss${r}`] = ops.crossEntropy(own, next, { reduction: "sum" });
      if (agree) outputs[`same${r}`] = share(given.full!);
      else outputs.answers = answer;
    });
    return outputs;
  });
}
