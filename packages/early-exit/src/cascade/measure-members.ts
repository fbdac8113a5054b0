import {
  asTensor,
  checkArguments,
  countMacs,
  type Device,
  InputError,
  parseOptions,
  probeShapes,
  rows,
  type Tensor,
  tensor,
} from "@exitkit/core-gpu";
import { z } from "zod";
import { recordLogits } from "../gates/record-logits.ts";
import type { LabelledBatch } from "../records/record-exits.ts";
import { cascade } from "./cascade.ts";
import type { CascadeMember } from "./member.ts";
import { fitTemperature } from "./temperature.ts";

/** What a network said about labelled samples, and what it costs. */
export interface MeasuredMember {
  readonly name: string;
  /** float32 `[n, k]`, in the order of the first member's classes, divided by the temperature. */
  readonly logits: Tensor<"float32">;
  /** T, fitted on these samples. */
  readonly temperature: number;
  /** MACs of a sample. */
  readonly macs: number;
  /** Milliseconds of a sample in batches of the size asked for: the median of interleaved runs. */
  readonly milliseconds: number;
  /**
   * Milliseconds that a call takes however few samples it has, from a batch and an eighth of one; 0 in batches of 1. A late stage
   * of a cascade pays them for the few samples that reach it.
   */
  readonly callMilliseconds: number;
}

/** Networks measured on the same samples. */
export interface MeasuredMembers {
  readonly members: readonly MeasuredMember[];
  /** `[n]` */
  readonly labels: Int32Array;
  /** Samples of a timed run. */
  readonly batch: number;
}

/** Options of {@link measureMembers}. */
export interface MeasureMembersOptions {
  /** Samples of a timed run, at most those of the first batch. Default 64. */
  readonly batch?: number;
  /** Timed runs of each network, in turns. Default 15. */
  readonly repeats?: number;
  /** Ends the call between two batches: it rejects with the signal's reason, streams are closed, the device can be used on. */
  readonly signal?: AbortSignal;
}

const optionsSchema = z.strictObject({
  batch: z.int().min(1).default(64),
  repeats: z.int().min(1).max(1000).default(15),
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * Runs networks on calibration data, fits their temperatures and times them: what `chooseCascade` chooses from.
 *
 * Timed is a whole run of each network on a batch and on an eighth of it, one after another, again and again; medians. Other
 * programs on the machine show in it.
 *
 * @param members Networks as `cascade` takes them; temperatures are fitted here and left out of what is given.
 * @param batches Labelled samples that no network was trained on.
 * @throws InputError as `cascade` and `recordLogits`, or on a first batch smaller than `batch`.
 */
export async function measureMembers(
  device: Device,
  members: readonly CascadeMember[],
  batches: Iterable<LabelledBatch> | AsyncIterable<LabelledBatch>,
  options: MeasureMembersOptions = {},
): Promise<MeasuredMembers> {
  const caller = "early-exit.measureMembers";
  checkArguments(caller, {
    device: [device, "an open device"],
    members: [members, "a list"],
    batches: [batches, "an iterable"],
  });
  const { batch, repeats, signal } = parseOptions(caller, optionsSchema, options);
  const plain = members.map(({ temperature: _, ...member }) => member);
  const all = cascade(plain, { answer: "own" });
  const alone = plain.map((member) => cascade([member], { answer: "own" }));
  let first: Tensor | undefined;
  const seen = async function* () {
    for await (const each of batches) {
      // Whoever makes the batches may use their memory again.
      const x = asTensor(each.x);
      first ??= { ...x, data: x.data.slice() } as Tensor;
      yield each;
    }
  };
  const record = await recordLogits(device, all, seen(), signal === undefined ? {} : { signal });
  if (first === undefined || first.shape[0]! < batch) {
    throw new InputError(
      caller,
      `the first batch must have at least ${batch} samples, to time`,
      `${first?.shape[0] ?? 0}`,
    );
  }
  const macs = await Promise.all(
    alone.map(async ({ model, input }) => {
      const shapes = await probeShapes(device, model, { [input]: [1, ...first!.shape.slice(1)] });
      return countMacs(model, shapes).total;
    }),
  );
  const few = Math.ceil(batch / 8);
  const times = await timeAll(device, alone, [rows(first, 0, batch), rows(first, 0, few)], repeats, signal);
  const shape = [record.n, record.classes] as const;
  return {
    labels: record.labels,
    batch,
    members: plain.map(({ name }, j) => {
      const at = record.exits.indexOf(name);
      const logits = tensor("float32", shape, record.logits[at]!);
      const temperature = fitTemperature(logits, record.labels);
      const scaled = tensor(
        "float32",
        shape,
        logits.data.map((value) => value / temperature),
      );
      const [whole, part] = times[j]!;
      // A line through both: what is left of it at no samples.
      const fixed = few === batch ? 0 : (part * batch - whole * few) / (batch - few);
      const callMilliseconds = Math.min(Math.max(0, fixed), whole);
      return { name, logits: scaled, temperature, macs: macs[j]!, milliseconds: whole / batch, callMilliseconds };
    }),
  };
}

/** Medians of interleaved runs in milliseconds, on each of two batches, the first of each left out. */
async function timeAll(
  device: Device,
  networks: readonly ReturnType<typeof cascade>[],
  batches: readonly [Tensor, Tensor],
  repeats: number,
  signal: AbortSignal | undefined,
): Promise<readonly (readonly [number, number])[]> {
  const sessions = await Promise.all(networks.map(({ model }) => device.load(model)));
  try {
    const times = networks.map(() => batches.map((): number[] => []));
    for (let round = 0; round <= repeats; round++) {
      for (const [j, session] of sessions.entries()) {
        for (const [at, x] of batches.entries()) {
          signal?.throwIfAborted();
          const begin = performance.now();
          await session.run({ [networks[j]!.input]: x });
          if (round > 0) times[j]![at]!.push(performance.now() - begin);
        }
      }
    }
    const median = (row: number[]) => row.sort((a, b) => a - b)[Math.floor(row.length / 2)]!;
    return times.map(([whole, part]) => [median(whole!), median(part!)] as const);
  } finally {
    await Promise.all(sessions.map((session) => session.release()));
  }
}
