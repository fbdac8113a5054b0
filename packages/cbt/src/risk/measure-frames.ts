import { type Device, InputError, parseOptions, sizeOf, type Tensor, until } from "@exitkit/core-gpu";
import { z } from "zod";
import type { SegmentationExitNetwork } from "../execution/network.ts";
import { openSegmenter, type SegmenterOptions } from "../execution/open-segmenter.ts";
import { deviceOption } from "../exits/pixel-exits.ts";
import { checkLabelledFrames, checkStream, type LabelledFrames } from "../frames/labelled-frames.ts";
import { IGNORE } from "../frames/labels.ts";
import { countConfusion, segmentationQuality } from "../quality/confusion.ts";

/** What thresholds do to each of some frames, when they are run. Plain data. */
export interface FrameMeasures {
  /** [points] thresholds, as openSegmenter takes them. */
  readonly path: readonly SegmenterOptions["thresholds"][];
  /** [points][frames] share of the frame's labelled pixels that are answered otherwise than by the full network. */
  readonly changed: readonly (readonly number[])[];
  /** [points][frames] the frame's mean IoU of the full network minus that with the thresholds, −1 to 1. */
  readonly miouLoss: readonly (readonly number[])[];
  /** [points][frames] MACs ÷ the plain network's. */
  readonly cost: readonly (readonly number[])[];
}

/** Options of {@link measureFrames}. */
export interface MeasureFramesOptions {
  /** Thresholds to try, as openSegmenter takes them, from the most cautious to the boldest. */
  readonly path: readonly SegmenterOptions["thresholds"][];
  /** Label of pixels that count nowhere. Default 255. */
  readonly ignore?: number;
  /** As openSegmenter takes it; segment with the same, as it changes answers. Default: never. */
  readonly wholeFrom?: readonly number[];
  /** Where the network runs. Default: the best device there is, opened and closed by the call. */
  readonly device?: Device;
  /** Ends the call between two batches: it rejects with the signal's reason, streams are closed, the device can be used on. */
  readonly signal?: AbortSignal;
}

const schema = z.strictObject({
  path: z.array(z.custom<SegmenterOptions["thresholds"]>()).min(1).readonly(),
  ignore: z.int().default(IGNORE),
  wholeFrom: z.array(z.number().min(0)).optional(),
  device: deviceOption,
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * Runs every frame with each of some thresholds and with nothing left out, and compares. What pixels that go on see of those that are
 * done is in it, as it is not in a record.
 *
 * @param frames Frames that neither the network was trained on nor the thresholds were found on; those without a labelled pixel are
 * refused.
 * @returns For {@link calibrateFrames}.
 * @throws InputError on a network, frames or labels that do not fit (naming file and value), no frames, thresholds of other classes or
 * exits, or unknown options.
 */
export async function measureFrames(
  network: SegmentationExitNetwork,
  frames: AsyncIterable<LabelledFrames> | Iterable<LabelledFrames>,
  options: MeasureFramesOptions,
): Promise<FrameMeasures> {
  const caller = "cbt.measureFrames";
  const { path, ignore, wholeFrom, device, signal } = parseOptions(caller, schema, options);
  checkStream(caller, frames);
  const [changed, miouLoss, cost] = [0, 1, 2].map(() => path.map((): number[] => []));
  const segmenter = await openSegmenter(network, {
    thresholds: 2,
    execution: "pixels",
    ...(wholeFrom === undefined ? {} : { wholeFrom }),
    ...(device === undefined ? {} : { device }),
  });
  try {
    const { classes, frame } = network;
    let seen = 0;
    for await (const given of until(signal, frames)) {
      const batch = checkLabelledFrames(caller, given, frame, classes, ignore);
      const { labels, source } = batch;
      const [n, h, w] = labels.shape as [number, number, number];
      for (let index = 0; index < n; index++, seen++) {
        const data = batch.x.data.subarray(index * sizeOf(frame), (index + 1) * sizeOf(frame));
        const x: Tensor<"float32"> = { dtype: "float32", shape: [1, ...frame], data };
        const ids = labels.data.subarray(index * h * w, (index + 1) * h * w);
        const own = { ...labels, shape: [1, h, w], data: ids } as LabelledFrames["labels"];
        const places = labelledPlaces(ids, ignore);
        if (places.length === 0) {
          throw new InputError(caller, `frame ${seen} (${source ?? "labels"}) must have a labelled pixel`, "none");
        }
        const quality = (answers: Tensor<"uint8">) =>
          segmentationQuality(countConfusion(own, answers, { classes, ignore })).miou;
        const full = await segmenter.segment(x);
        const best = quality(full.classes);
        for (const [point, thresholds] of path.entries()) {
          signal?.throwIfAborted();
          const found = await segmenter.segment(x, { thresholds });
          const others = places.filter((at) => found.classes.data[at] !== full.classes.data[at]).length;
          changed![point]!.push(others / places.length);
          miouLoss![point]!.push(best - quality(found.classes));
          cost![point]!.push(found.macs[0]! / segmenter.fullMacs);
        }
      }
    }
    if (seen === 0) throw new InputError(caller, "at least one frame", "none", "Is the stream used up?");
    return { path, changed: changed!, miouLoss: miouLoss!, cost: cost! };
  } finally {
    await segmenter.release();
  }
}

/** Places of pixels that have a label. */
function labelledPlaces(ids: ArrayLike<number>, ignore: number): number[] {
  return Array.from({ length: ids.length }, (_, at) => at).filter((at) => ids[at] !== ignore);
}
