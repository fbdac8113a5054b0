import {
  compileProgram,
  type Device,
  layers,
  spec,
  type Tensor,
  type TreeRecord,
  tensor,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import { accumulateDecoder } from "@exitkit/llm-exit-init";
import { type TimingPlan, timeInterleaved } from "../../measuring/timing.ts";
import { bordered, tapOf } from "./epoch-zero.ts";
import type { SpeedRow } from "./schema.ts";
import type { Plan } from "./settings.ts";
import type { Subject } from "./subject.ts";

/** Windows that go through together. */
const MOST = 8;

/** What one exit's statistics may hold. */
const SUMS = [
  { sums: "what the class-aware head needs", gram: false, cross: false, norm: "none" },
  { sums: "with Gram matrix and cross sums", gram: true, cross: true, norm: "final" },
] as const;

/** Plain inference (tokens in, logits out) against passes that sum up the states of one exit, in turn. */
export async function measureSpeed(
  device: Device,
  subject: Subject,
  plan: Plan,
  timing: TimingPlan,
): Promise<readonly SpeedRow[]> {
  const { decoder, border } = subject;
  const { length } = subject.fit;
  const batch = Math.min(MOST, plan.timed);
  const windows = { tokens: subject.fit.tokens.subarray(0, plan.timed * length), length };
  const program = trace((given) => ({ logits: decoder.apply(given.params as TreeRecord<Value>, given.x).logits }), {
    params: layers.specsOf<TreeRecord<Tensor>>(decoder.params),
    x: spec("int32", [batch, length]),
  });
  const into = { logits: tensor("float32", [batch, length, decoder.config.vocabulary]) };
  // Both load the model for their pass.
  const plain = async () => {
    const session = await compileProgram(device, program, { constants: { params: decoder.params } });
    for (let from = 0; from < windows.tokens.length; from += batch * length) {
      const x = tensor("int32", [batch, length], windows.tokens.subarray(from, from + batch * length));
      await session.run({ x }, { into });
    }
    await session.release();
  };
  const contenders = SUMS.map(({ sums, norm, ...kept }) => ({
    name: sums,
    run: () =>
      accumulateDecoder(device, decoder, windows, {
        ...{ exits: [{ tap: tapOf(plan.layer), norm }], ...kept, batchSize: batch, ...bordered(border) },
      }),
  }));
  const times = await timeInterleaved([{ name: "plain", run: plain }, ...contenders], timing);
  const own = times.get("plain")!;
  return SUMS.map(({ sums }) => ({
    model: subject.name,
    sums,
    fraction: own.median / times.get(sums)!.median,
    plainTokensPerSecond: (1000 * windows.tokens.length) / own.median,
    rounds: own.times.length,
  }));
}
