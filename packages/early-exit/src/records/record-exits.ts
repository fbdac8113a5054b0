import {
  addTaps,
  asTensor,
  checkArguments,
  type Device,
  describeModel,
  InputError,
  onnx,
  parseOptions,
  type RuntimeTensor,
  sizeOf,
  type Tensor,
  tensor,
  until,
} from "@exitkit/core-gpu";
import { z } from "zod";
import type { ExitModel } from "../exits/exits.ts";
import { EXIT_MODEL } from "../exits/exits.ts";
import { cutAtExits } from "../exits/stages.ts";
import { type Labels, labelsOf } from "./labels.ts";
import { concatRecords, type ExitRecord, type Unit } from "./record.ts";
import { keptUnits, recordOfUnits } from "./unit-record.ts";

/**
 * A labelled batch: `x` `[n, ...]` as the model takes it, `y` `[n]` the true classes, −1 (`REJECTED`) for samples of no known class.
 * Where exits answer pixels or tokens, `y` is as large as an answer, `[n, h, w]` or `[n, t]`.
 */
export interface LabelledBatch {
  /** ONNX Runtime's own tensors will do. */
  readonly x: Tensor | RuntimeTensor;
  readonly y: Labels;
}

/** Options of {@link recordExits}. */
export interface RecordExitsOptions {
  /** Called after each batch with the number of samples done so far. */
  readonly onProgress?: (samples: number) => void;
  /** What the exits answer: `pixel` for answers `[n, h, w]`, `token` for `[n, t]`. Default `sample`, answers `[n]`. */
  readonly unit?: Unit;
  /** Units of these labels are left out, such as `255`. Default: none. */
  readonly ignore?: number | readonly number[];
  /** Ends the call between two batches: it rejects with the signal's reason, streams are closed, the device can be used on. */
  readonly signal?: AbortSignal;
}

const optionsSchema = z.strictObject({
  onProgress: z.custom<(samples: number) => void>((value) => typeof value === "function").optional(),
  unit: z.enum(["sample", "pixel", "token"]).default("sample"),
  ignore: z.union([z.int(), z.array(z.int()).readonly()]).optional(),
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * Records what every exit says about every sample of a data set, or every pixel or token of it: the whole network is run once,
 * nothing leaves early. Pixels and tokens stay in groups, one for each sample.
 *
 * @param batches The data, in batches of any size; empty ones are passed over.
 * @returns A record of all units in order, for `replay`, `solveThresholds` and `frontier`.
 * @throws InputError on no samples, labels that do not fit the samples or are below −1 (`REJECTED`: of no known class), a
 * confidence outside [0, 1] or NaN, an answer that has not one element for each unit, or when the device refuses the network or a batch.
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
  checkArguments("early-exit.recordExits", {
    device: [device, "an open device"],
    exitModel: [exitModel, EXIT_MODEL],
    batches: [batches, "an iterable"],
  });
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
  const { onProgress, unit, ignore, signal } = parseOptions(caller, optionsSchema, options);
  const { exits, input } = exitModel;
  const { model } = cutAtExits(caller, exitModel);
  const records: ExitRecord[] = [];
  const beside: (readonly Tensor[])[] = [];
  let done = 0;
  let probed = false;
  const session = await device.load(also.length === 0 ? model : addTaps(model, also));
  try {
    for await (const { x: given, y } of until(signal, batches)) {
      const x = asTensor(given);
      const n = x?.shape?.[0] ?? 0;
      const labels = labelsOf(caller, "labels", y);
      if (unit === "sample" && labels.length !== n) {
        throw new InputError(caller, `a batch of ${n} samples must have ${n} labels`, `${labels.length}`);
      }
      if (n === 0) continue;
      if (n > 1 && !probed) {
        const trial = await onnx.tryRows(device, model, new Map([[input, [1, ...x.shape.slice(1)]]]), session);
        if (trial.rows.refusal === null) onnx.checkRows(caller, trial.rows, input, "Or give batches of one sample.");
        probed = true;
      }
      const results = await session.run({ [input]: x });
      const first = results[exits[0]!.confidence]!;
      const shape = unit === "sample" ? [n] : first.shape;
      if (shape[0] !== n || (unit !== "sample" && shape.length < 2)) {
        const fix = 'Answers [n] are of unit "sample".';
        throw new InputError(caller, `${unit}s must be answered [${n}, ...]`, `[${first.shape.join(", ")}]`, fix);
      }
      if (labels.length !== sizeOf(shape)) {
        throw new InputError(caller, `answers [${shape.join(", ")}] must have as many labels`, `${labels.length}`);
      }
      done += n;
      if (keptUnits(labels, ignore)?.length === 0) continue;
      const record = recordOfUnits(caller, {
        unit,
        exits: exits.map(({ name, confidence, prediction }) => ({
          name,
          confidences: answer(caller, confidence, results, "float32", shape),
          predictions: answer(caller, prediction, results, "int64", shape),
        })),
        labels: tensor("int32", shape, labels === y ? labels.slice() : labels),
        ...(ignore === undefined ? {} : { ignore }),
      });
      records.push(record);
      beside.push(also.map((name) => results[name]!));
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
  shape: readonly number[],
): Tensor {
  const value = results[name]!;
  if (value.dtype === dtype && value.shape.join() === shape.join()) return value;
  throw new InputError(
    caller,
    `${onnx.quoted(name)} must be ${dtype} [${shape.join(", ")}]`,
    `${value.dtype} [${value.shape.join(", ")}]`,
    shape.length === 1 && value.shape.length > 1 ? 'Say what is answered: unit: "pixel" or "token".' : undefined,
  );
}
