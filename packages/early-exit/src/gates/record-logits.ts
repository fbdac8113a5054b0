import { checkArguments, type Device, InputError, onnx } from "@exitkit/core-gpu";
import type { ExitModel } from "../exits/exits.ts";
import { EXIT_MODEL } from "../exits/exits.ts";
import type { ExitRecord } from "../records/record.ts";
import { type LabelledBatch, type RecordExitsOptions, runAll } from "../records/record-exits.ts";

/** A record that also holds every exit's scores, the logits its answer follows from. */
export interface LogitsRecord extends ExitRecord {
  /** k, the number of classes. */
  readonly classes: number;
  /** `[e]`, each `[n · k]`: the scores of sample 0, then those of sample 1, ... */
  readonly logits: readonly Float32Array[];
}

/**
 * Records what `recordExits` does and every exit's scores beside it: what learned gates are fitted on.
 *
 * @param batches The data, in batches of any size; empty ones are passed over.
 * @throws InputError as `recordExits`, and when an exit does not name its `scores` or they are not float32 `[n, k]` with one
 * k for all exits.
 * @example
 * ```ts
 * import { type Device } from "@exitkit/core-gpu";
 * import { type ExitModel, fitGates, type ExitCosts, type LabelledBatch, recordLogits } from "@exitkit/early-exit";
 * const learn = async (device: Device, network: ExitModel, costs: ExitCosts, batches: Iterable<LabelledBatch>) =>
 *   fitGates(await recordLogits(device, network, batches), costs, { tradeOff: 0.05 });
 * ```
 */
export async function recordLogits(
  device: Device,
  exitModel: ExitModel,
  batches: AsyncIterable<LabelledBatch> | Iterable<LabelledBatch>,
  options: RecordExitsOptions = {},
): Promise<LogitsRecord> {
  const caller = "early-exit.recordLogits";
  checkArguments(caller, {
    device: [device, "an open device"],
    exitModel: [exitModel, EXIT_MODEL],
    batches: [batches, "an iterable"],
  });
  const names = exitModel.exits.map(({ name, scores }) => {
    if (scores !== undefined) return scores;
    const fix = "Name the tensor of its logits in defineExits.";
    throw new InputError(caller, `exit "${name}" must name its scores`, "none", fix);
  });
  const { record, beside } = await runAll(caller, device, exitModel, batches, options, names);
  const classes = beside[0]![0]!.shape[1] ?? 0;
  const logits = names.map((name, j) => {
    const all = new Float32Array(record.n * classes);
    let at = 0;
    for (const batch of beside) {
      const { data, dtype, shape } = batch[j]!;
      if (dtype !== "float32" || shape.length !== 2 || shape[1] !== classes) {
        const expectation = `scores ${onnx.quoted(name)} must be float32 [n, ${classes === 0 ? "k" : classes}]`;
        throw new InputError(caller, expectation, `${dtype} [${shape.join(", ")}]`);
      }
      all.set(data as Float32Array, at);
      at += data.length;
    }
    return all;
  });
  return { ...record, classes, logits };
}
