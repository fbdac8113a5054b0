import { addTaps, type Device, describeModel, InputError, onnx, parseOptions, type Tensor } from "@exitkit/core-gpu";
import { z } from "zod";
import type { ExitModel } from "../exits/exits.ts";
import { cutAtExits } from "../exits/stages.ts";
import { checkRecord, concatRecords, type ExitRecord } from "./record.ts";

/** A labelled batch: `x` `[n, ...]` as the model takes it, `y` `[n]` the true classes, −1 (`REJECTED`) for samples of no known class. */
export interface LabelledBatch {
  readonly x: Tensor;
  readonly y: Int32Array;
}

/** Options of {@link recordExits}. */
export interface RecordExitsOptions {
  /** Called after each batch with the number of samples done so far. */
  readonly onProgress?: (samples: number) => void;
}

const optionsSchema = z.strictObject({
  onProgress: z.custom<(samples: number) => void>((value) => typeof value === "function").optional(),
});

/**
 * Records what every exit says about every sample of a data set: the whole network is run once, nothing leaves early.
 *
 * @param batches The data, in batches of any size; empty ones are passed over.
 * @returns A record of all samples in order, for `replay`, `solveThresholds` and `frontier`.
 * @throws InputError on no samples, labels that do not fit the samples or are below −1 (`REJECTED`: of no known class), a
 * confidence outside [0, 1] or NaN, an answer that is not `[n]`, or when the device refuses the network or a batch.
 * @example
 * ```ts
 * import { recordExits, type ExitModel, type LabelledBatch } from "@exitkit/early-exit";
 * import type { Device } from "@exitkit/core-gpu";
 * const calibrate = (device: Device, network: ExitModel, batches: AsyncIterable<LabelledBatch>) =>
 *   recordExits(device, network, batches);
 * ```
 */
export async function recordExits(
  device: Device,
  exitModel: ExitModel,
  batches: AsyncIterable<LabelledBatch> | Iterable<LabelledBatch>,
  options: RecordExitsOptions = {},
): Promise<ExitRecord> {
  const { record } = await runAll("early-exit.recordExits", device, exitModel, batches, options, []);
  return record;
}

/**
 * Runs the whole network on all batches.
 *
 * @param also Names of tensors float32 `[n, k]` that are wanted beside the exits' answers.
 * @returns The record, and for each batch those tensors.
 */
export async function runAll(
  caller: string,
  device: Device,
  exitModel: ExitModel,
  batches: AsyncIterable<LabelledBatch> | Iterable<LabelledBatch>,
  options: RecordExitsOptions,
  also: readonly string[],
): Promise<{ readonly record: ExitRecord; readonly beside: readonly (readonly Tensor[])[] }> {
  const { onProgress } = parseOptions(caller, optionsSchema, options);
  const { exits, input } = exitModel;
  const { model } = cutAtExits(caller, exitModel);
  const records: ExitRecord[] = [];
  const beside: (readonly Tensor[])[] = [];
  let done = 0;
  const session = await device.load(also.length === 0 ? model : addTaps(model, also));
  try {
    for await (const { x, y } of batches) {
      const n = x.shape[0] ?? 0;
      if (y.length !== n) {
        throw new InputError(caller, `a batch of ${n} samples must have ${n} labels`, `${y.length}`);
      }
      if (n === 0) continue;
      const results = await session.run({ [input]: x });
      const record: ExitRecord = {
        exits: exits.map(({ name }) => name),
        n,
        confidences: exits.map(
          ({ confidence }) => answer(caller, confidence, results, "float32", n).data as Float32Array,
        ),
        predictions: exits.map(({ prediction }) => {
          const { data } = answer(caller, prediction, results, "int64", n);
          return Int32Array.from(data as BigInt64Array, Number);
        }),
        labels: Int32Array.from(y),
      };
      checkRecord(caller, record);
      records.push(record);
      beside.push(also.map((name) => results[name]!));
      done += n;
      onProgress?.(done);
    }
  } finally {
    await session.release();
  }
  if (records.length === 0) {
    const shape = describeModel(model).inputs.find(({ name }) => name === input)?.shape ?? [];
    const fix = `Batches hold x [${shape.map((size) => size ?? "?").join(", ")}] and y [n].`;
    throw new InputError(caller, "the batches must hold at least one sample", "none", fix);
  }
  return { record: concatRecords(records), beside };
}

function answer(
  caller: string,
  name: string,
  results: Readonly<Record<string, Tensor>>,
  dtype: string,
  n: number,
): Tensor {
  const value = results[name]!;
  if (value.dtype === dtype && value.shape.length === 1 && value.shape[0] === n) return value;
  throw new InputError(
    caller,
    `${onnx.quoted(name)} must be ${dtype} [${n}]`,
    `${value.dtype} [${value.shape.join(", ")}]`,
  );
}
