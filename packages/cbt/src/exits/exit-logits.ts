import {
  compileProgram,
  type Device,
  openDevice,
  parseOptions,
  sizeOf,
  spec,
  type Tensor,
  trace,
  until,
} from "@exitkit/core-gpu";
import { z } from "zod";
import { checkNetwork, type SegmentationExitNetwork } from "../execution/network.ts";
import { layoutOf, logitsOf } from "../execution/programs.ts";
import { checkLabelledFrames, checkStream, type LabelledFrames } from "../frames/labelled-frames.ts";
import { IGNORE } from "../frames/labels.ts";
import type { ExitLogits } from "../thresholds/class-probabilities.ts";
import { deviceOption } from "./pixel-exits.ts";

/** Options of {@link exitLogits}. */
export interface ExitLogitsOptions {
  /** Label of pixels that count nowhere. Default 255. */
  readonly ignore?: number;
  /** Where the network runs. Default: the best device there is, opened and closed by the call. */
  readonly device?: Device;
  /** Ends the call between two batches: it rejects with the signal's reason, streams are closed, the device can be used on. */
  readonly signal?: AbortSignal;
}

const schema = z.strictObject({
  ignore: z.int().default(IGNORE),
  device: deviceOption,
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * What all exits of a network say about labelled frames when nothing is left out: logits of every exit on its own grid, the network's
 * last. For `accumulateClassProbabilities` and `recordPixels`. Frames go through one by one.
 *
 * @throws InputError on a network whose stages, taps or heads do not fit, frames or labels that do not fit (naming file and value), or
 * unknown options.
 */
export async function* exitLogits(
  network: SegmentationExitNetwork,
  frames: AsyncIterable<LabelledFrames> | Iterable<LabelledFrames>,
  options: ExitLogitsOptions = {},
): AsyncGenerator<ExitLogits> {
  const caller = "cbt.exitLogits";
  const { ignore, device: lent, signal } = parseOptions(caller, schema, options);
  checkNetwork(caller, network);
  checkStream(caller, frames);
  layoutOf(caller, network);
  const { frame, classes, heads } = network;
  const program = trace(
    (inputs) => ({ logits: logitsOf(caller, network, inputs.frame).map((tap, exit) => heads[exit]?.(tap) ?? tap) }),
    { frame: spec("float32", [1, ...frame]) },
  );
  const device = lent ?? (await openDevice("auto"));
  const session = await compileProgram(device, program);
  try {
    for await (const given of until(signal, frames)) {
      const batch = checkLabelledFrames(caller, given, frame, classes, ignore);
      const { labels, source, group } = batch;
      const [n, h, w] = labels.shape as [number, number, number];
      for (let index = 0; index < n; index++) {
        const x = batch.x.data.subarray(index * sizeOf(frame), (index + 1) * sizeOf(frame));
        const results = await session.run({ frame: { dtype: "float32", shape: [1, ...frame], data: x } });
        const own = labels.data.subarray(index * h * w, (index + 1) * h * w);
        yield {
          logits: network.stages.map((_, exit) => results[`logits.${exit}`] as Tensor<"float32">),
          labels: { ...labels, shape: [1, h, w], data: own } as ExitLogits["labels"],
          ...(source === undefined ? {} : { source }),
          ...(group === undefined ? {} : { group }),
        };
        signal?.throwIfAborted();
      }
    }
  } finally {
    await session.release();
    if (lent === undefined) await device.close();
  }
}
