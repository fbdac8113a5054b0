import {
  checkArguments,
  type Device,
  InputError,
  layers,
  ops,
  parseOptions,
  spec,
  type Tensor,
  tensor,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import type { ExitNetwork, ExitParameters } from "@exitkit/early-exit";
import { z } from "zod";
import type { TokenScore } from "../judge.ts";
import { nextTokenPairs, type PairsOptions, pairsSchema } from "../tokens/pairs.ts";
import { countWindows, type TokenWindows, takeWindows } from "../tokens/windows.ts";

/** Options of {@link judgeExits}. */
export interface JudgeExitsOptions extends PairsOptions {
  /** Windows that go through together. Default 8. */
  readonly batchSize?: number;
  /** Ends the call between two batches: it rejects with the signal's reason, the device can be used on. */
  readonly signal?: AbortSignal;
}

const caller = "llm-exit-init.judgeExits";
const schema = pairsSchema.extend({
  batchSize: z.int().min(1).default(8),
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * Accuracy, cross entropy and agreement with the last exit of every exit of a network of {@link attachHeads}, on text, as `judgeHeads` counts
 * them: for the evaluation of an epoch.
 *
 * @param windows Of t + 1 tokens, where the network reads t.
 * @returns `[e]`, the full model last.
 * @throws InputError on an option that is unknown or out of range, windows of another length, or no pair at all.
 */
export async function judgeExits(
  device: Device,
  network: ExitNetwork,
  params: ExitParameters,
  windows: TokenWindows,
  options?: JudgeExitsOptions,
): Promise<readonly TokenScore[]> {
  checkArguments("llm-exit-init.judgeExits", {
    device: [device, "an open device"],
    network: [network, { backbone: "an object", exits: "a list", apply: "a function" }],
    params: [params, "an object"],
  });
  const { batchSize, skip, border, signal } = parseOptions(caller, schema, options);
  const { units: t = 1, input } = network.backbone;
  if (windows?.length !== t + 1) {
    throw new InputError(
      caller,
      `windows must have ${t + 1} tokens, one more than the network reads`,
      `${windows?.length}`,
    );
  }
  const e = network.exits.length + 1;
  const program = trace(
    (given) => {
      const { logits } = network.apply(given.params as ExitParameters<Value>, given.x, { trains: "nothing" });
      const answers = logits.map((exit) => ops.argMax(exit, { axis: 1 }));
      const counted = (same: Value) => ops.sum(ops.mul(ops.cast(same, "float32"), given.counts));
      return {
        right: answers.map((answer) => counted(ops.equal(answer, given.y))),
        same: answers.map((answer) => counted(ops.equal(answer, answers.at(-1)!))),
        loss: logits.map((exit) =>
          ops.sum(ops.mul(ops.crossEntropy(exit, given.y, { reduction: "none" }), given.counts)),
        ),
      };
    },
    {
      params: layers.specsOf<ExitParameters>(params),
      x: spec(input.dtype, [batchSize, t]),
      y: spec("int64", [batchSize * t]),
      counts: spec("float32", [batchSize * t]),
    },
  );
  const runner = await device.compile(program, { state: ["params"], initial: { params } });
  const sums = Array.from({ length: e }, () => ({ right: 0, same: 0, loss: 0 }));
  let tokens = 0;
  try {
    for (let from = 0; from < countWindows(windows); from += batchSize) {
      signal?.throwIfAborted();
      const taken = takeWindows(windows, from, Math.min(from + batchSize, countWindows(windows)));
      const { x, y, counts, pairs } = feedsOf(taken, batchSize, { skip, ...(border === undefined ? {} : { border }) });
      tokens += pairs;
      const outputs = await runner.run({ x, y, counts });
      sums.forEach((sum, j) => {
        for (const key of ["right", "same", "loss"] as const) sum[key] += Number(outputs[`${key}.${j}`]!.data[0]);
      });
      const bad = sums.findIndex(({ loss }) => !Number.isFinite(loss));
      if (bad >= 0) {
        const actual = `NaN or infinity at exit ${bad}, windows ${from} to ${Math.min(from + batchSize, countWindows(windows)) - 1}`;
        throw new InputError(caller, "logits must be finite", actual, "Check the parameters of that exit.");
      }
    }
  } finally {
    await runner.release();
  }
  if (tokens === 0) throw new InputError(caller, "at least one token with a next one is needed", "none");
  return sums.map(({ right, same, loss }, j) => ({
    name: network.exits[j]?.name ?? "full model",
    accuracy: right / tokens,
    crossEntropy: loss / tokens,
    agreement: same / tokens,
  }));
}

/** Windows that do not fill the batch are followed by ones that count nothing. */
function feedsOf({ tokens, length }: TokenWindows, batchSize: number, options: PairsOptions) {
  const t = length - 1;
  const x = new BigInt64Array(batchSize * t);
  const y = new BigInt64Array(batchSize * t);
  const counts = new Float32Array(batchSize * t);
  tokens.forEach((token, at) => {
    const row = Math.floor(at / length);
    const column = at % length;
    if (column < t) x[row * t + column] = BigInt(token);
    if (column > 0) y[row * t + column - 1] = BigInt(token);
  });
  const { positions } = nextTokenPairs(tokens, length, options);
  for (const position of positions) counts[Math.floor(position / length) * t + (position % length)] = 1;
  return {
    x: tensor("int64", [batchSize, t], x) as Tensor,
    y: tensor("int64", [batchSize * t], y),
    counts: tensor("float32", [batchSize * t], counts),
    pairs: positions.length,
  };
}
