import {
  compileProgram,
  type Device,
  InputError,
  openDevice,
  ops,
  parseOptions,
  sizeOf,
  spec,
  type Tensor,
  tensor,
  trace,
  until,
  type Value,
} from "@exitkit/core-gpu";
import { z } from "zod";
import {
  checkNetwork,
  featureOf,
  type SegmentationExitNetwork,
  type SegmentationNetwork,
  type SegmentationStage,
} from "../execution/network.ts";
import { logitsOf } from "../execution/programs.ts";
import { checkLabelledFrames, checkStream, type LabelledFrames } from "../frames/labelled-frames.ts";
import { IGNORE } from "../frames/labels.ts";
import { average } from "./average.ts";
import { sharedCovariance } from "./shared-covariance.ts";

/** An exit without training: a 1 × 1 convolution, and averages of what it gives over windows. Plain data. */
export interface PixelExit {
  /** Sides of the windows that the features were averaged over, odd; 1 is the pixel itself. */
  readonly windows: readonly number[];
  /** Row-major [windows · k, c]: for each window the weights of all classes. */
  readonly weights: Float32Array;
  /** [k]. */
  readonly bias: Float32Array;
}

/** Options of {@link fitPixelExits}. */
export interface FitPixelExitsOptions {
  /** Label of pixels that count nowhere. Default 255. */
  readonly ignore?: number;
  /** Odd sides of the windows whose averages join a pixel's own features. Default [1, 3, 11]. */
  readonly windows?: readonly number[];
  /** How far the features' correlation is drawn to independence, in [0, 1]. Default 0.02. */
  readonly shrinkage?: number;
  /** Where the network runs. Default: the best device there is, opened and closed by the call. */
  readonly device?: Device;
  /** Ends the call between two batches: it rejects with the signal's reason, streams are closed, the device can be used on. */
  readonly signal?: AbortSignal;
  /** Called after every batch with the number of frames so far. */
  readonly onProgress?: (frames: number) => void;
}

/** Schema of the option `device`. */
export const deviceOption = z
  .custom<Device>((value) => typeof (value as Device | null)?.load === "function", "must be an open device")
  .optional();

const oddSide = z
  .int()
  .min(1)
  .refine((side) => side % 2 === 1, "must be odd");

const schema = z.strictObject({
  ignore: z.int().default(IGNORE),
  windows: z.array(oddSide).min(1).readonly().default([1, 3, 11]),
  shrinkage: z.number().min(0).max(1).default(0.02),
  device: deviceOption,
  signal: z.instanceof(AbortSignal).optional(),
  onProgress: z
    .custom<(frames: number) => void>((value) => typeof value === "function", "must be a function")
    .optional(),
});

/**
 * Exits for a segmentation network that has none, in closed form from one pass over labelled frames: class means of pixels with a
 * shared covariance, at the tap of every early stage. A pixel's features are the tap's c channels and their averages over
 * windows (of what lies inside the frame); a pixel of the tap's grid that covers several labels counts for each class by its share of
 * them. As averages are linear, the rule is folded into one 1 × 1 convolution to k channels a window, averaged afterwards.
 *
 * Sums over a frame are products in the graph (float32), frames are added up in float64.
 *
 * @returns [e − 1] exits; {@link withPixelExits} joins them to the network.
 * @throws InputError on a network or frames that do not fit, label ids that are neither a class nor `ignore` (naming file and value),
 * no frames, features that are not finite, a covariance that cannot be inverted, or unknown options.
 * Source: the Gaussian argument of the thesis (Görmez, UIC 2024), on pixels [D]. Differs: the paper's exits are trained.
 * @example
 * ```ts
 * import { generator, ops, tensor } from "@exitkit/core-gpu";
 * import { fitPixelExits, openSegmenter, type SegmentationNetwork, withPixelExits } from "@exitkit/cbt";
 * // A network that labels bright and dark pixels, in two stages; one labelled frame.
 * const network: SegmentationNetwork = {
 *   frame: [1, 8, 8],
 *   classes: 2,
 *   stages: [
 *     { compute: ({ frame }) => ({ x: ops.relu(frame!) }), tap: "x" },
 *     { compute: ({ frame }) => ({ logits: ops.concat([ops.neg(frame!), frame!], 1) }), tap: "logits" },
 *   ],
 * };
 * const random = generator(1);
 * const x = tensor("float32", [1, 1, 8, 8], Array.from({ length: 64 }, () => random.normal()));
 * const labels = tensor("uint8", [1, 8, 8], Array.from(x.data, (value) => (value > 0 ? 1 : 0)));
 * const exits = await fitPixelExits(network, [{ x, labels }]);
 * const segmenter = await openSegmenter(withPixelExits(network, exits), { thresholds: 0.8 });
 * const { stopped } = await segmenter.segment(x);
 * console.assert(stopped.data.includes(0)); // some pixels are done at once
 * await segmenter.release();
 * ```
 */
export async function fitPixelExits(
  network: SegmentationNetwork,
  frames: AsyncIterable<LabelledFrames> | Iterable<LabelledFrames>,
  options: FitPixelExitsOptions = {},
): Promise<readonly PixelExit[]> {
  const caller = "cbt.fitPixelExits";
  const { ignore, windows, shrinkage, device: lent, signal, onProgress } = parseOptions(caller, schema, options);
  checkNetwork(caller, network);
  checkStream(caller, frames);
  const { frame, classes: k } = network;
  const { program, taps } = summing(caller, network, windows);
  const device = lent ?? (await openDevice("auto"));
  try {
    const session = await compileProgram(device, program);
    const counts = taps.map(() => new Float64Array(k));
    const sums = taps.map(({ d }) => ({ d, sums: new Float64Array(k * d), gram: new Float64Array(d * d) }));
    let seen = 0;
    try {
      for await (const given of until(signal, frames)) {
        const batch = checkLabelledFrames(caller, given, frame, k, ignore);
        const n = batch.labels.shape[0]!;
        const [size, pixels] = [sizeOf(frame), frame[1] * frame[2]];
        for (let index = 0; index < n; index++) {
          signal?.throwIfAborted();
          const x = batch.x.data.subarray(index * size, (index + 1) * size);
          const labels = batch.labels.data.subarray(index * pixels, (index + 1) * pixels);
          const feeds: Record<string, Tensor> = { frame: { dtype: "float32", shape: [1, ...frame], data: x } };
          taps.forEach(({ grid }, exit) => {
            const shares = labelShares(labels, frame, grid, k, ignore, counts[exit]!);
            feeds[`shares.${exit}`] = tensor("float32", [k, sizeOf(grid)], shares);
          });
          const results = await session.run(feeds);
          sums.forEach((own, exit) => {
            const part = (name: string) => results[`exits.${exit}.${name}`]!.data as Float32Array;
            const shares = feeds[`shares.${exit}`]!.data as Float32Array;
            addFrame(caller, own, shares, part, `exit ${exit} of frame ${seen + index}`);
          });
        }
        seen += n;
        onProgress?.(seen);
      }
    } finally {
      await session.release();
    }
    if (seen === 0) throw new InputError(caller, "at least one batch of frames", "none", "Is the stream used up?");
    return sums.map((own, exit) => {
      if (counts[exit]!.every((count) => count === 0)) {
        throw new InputError(caller, "some pixel must have a label", `only the ignore label ${ignore}`);
      }
      return folded(sharedCovariance(caller, counts[exit]!, own, shrinkage), k, own.d / windows.length, windows);
    });
  } finally {
    if (lent === undefined) await device.close();
  }
}

/**
 * The network with exits: each a 1 × 1 convolution of its stage's tap, and averages of what that gives. Where a stage names its
 * `source`, what the convolution gives is carried: `fitCarries` then fits maps for that too.
 *
 * @throws InputError where there are not as many exits as early stages, or (when the network is opened) weights for another tap.
 */
export function withPixelExits(network: SegmentationNetwork, exits: readonly PixelExit[]): SegmentationExitNetwork {
  const caller = "cbt.withPixelExits";
  checkNetwork(caller, network);
  const early = network.stages.slice(0, -1);
  if (!Array.isArray(exits) || exits.length !== early.length) {
    const expectation = `exits must be ${early.length}, one for each early stage`;
    throw new InputError(caller, expectation, Array.isArray(exits) ? `${exits.length}` : typeof exits);
  }
  const k = network.classes;
  const stages = early.map((stage, index): SegmentationStage => {
    const tap = `${stage.tap} for exit ${index}`;
    return {
      tap,
      compute: (features, carry) => {
        const made = stage.compute(features, carry);
        const read = featureOf(caller, { ...features, ...made }, stage.tap, index);
        const scores = scored(caller, k, exits[index]!, read);
        if (stage.source === undefined) return { ...made, [tap]: scores };
        return { ...made, [tap]: carry(scores, featureOf(caller, features, stage.source, index)) };
      },
    };
  });
  const heads = exits.map((exit) => (scores: Value) => joined(k, exit, scores));
  return { ...network, stages: [...stages, network.stages.at(-1)!], heads };
}

/** Scores [1, windows · k, h, w] of a tap [1, c, h, w]. */
function scored(caller: string, k: number, { windows, weights, bias }: PixelExit, tap: Value): Value {
  const c = tap.shape[1] as number;
  if (weights.length !== windows.length * k * c || bias.length !== k) {
    const expectation = `an exit of ${k} classes must have weights for its tap's ${c} channels`;
    const actual = `${weights.length} weights for ${windows.length} windows, ${bias.length} biases`;
    throw new InputError(caller, expectation, actual);
  }
  return ops.conv(tap, tensor("float32", [windows.length * k, c, 1, 1], weights));
}

/** Logits [1, k, h, w]: the windows' averages of their scores, and the bias. */
function joined(k: number, { windows, bias }: PixelExit, scores: Value): Value {
  const parts = windows.map((side, at) =>
    average(ops.slice(scores, { axis: 1, from: at * k, to: (at + 1) * k }), side),
  );
  return ops.add(
    parts.reduce((sum, part) => ops.add(sum, part)),
    tensor("float32", [1, k, 1, 1], bias),
  );
}

interface TapPlan {
  readonly grid: readonly [number, number];
  /** Features a pixel. */
  readonly d: number;
}

/** Sums over one frame's pixels as a program. */
function summing(caller: string, network: SegmentationNetwork, windows: readonly number[]) {
  const frameSpec = spec("float32", [1, ...network.frame]);
  const shapes = trace(({ frame }) => ({ taps: logitsOf(caller, network, frame).slice(0, -1) }), { frame: frameSpec });
  const taps = shapes.outputs.map((output): TapPlan => {
    const [, c, h, w] = output.spec.shape as [number, number, number, number];
    return { grid: [h, w], d: c * windows.length };
  });
  const program = trace(
    ({ frame, shares }) => ({
      exits: logitsOf(caller, network, frame)
        .slice(0, -1)
        .map((tap, exit) => {
          const { grid, d } = taps[exit]!;
          const features = ops.concat(
            windows.map((side) => average(tap, side)),
            1,
          );
          const rows = ops.reshape(ops.transpose(features, [0, 2, 3, 1]), [sizeOf(grid), d]);
          const share = (shares as readonly Value[])[exit]!;
          // About the frame's mean: a covariance is a small difference of large sums.
          const mean = ops.mean(rows, { axes: [0], keepDimensions: true });
          const centred = ops.sub(rows, mean);
          const weighted = ops.mul(centred, ops.reshape(ops.sum(share, { axes: [0] }), [sizeOf(grid), 1]));
          return {
            mean,
            sums: ops.matmul(share, centred),
            gram: ops.matmul(ops.transpose(weighted, [1, 0]), centred),
          };
        }),
    }),
    { frame: frameSpec, shares: taps.map(({ grid }) => spec("float32", [network.classes, sizeOf(grid)])) },
  );
  return { program, taps };
}

/** Shares of the classes among the labels that lie in each pixel of a grid, [k, h·w]; added to `counts`. */
function labelShares(
  labels: ArrayLike<number>,
  [, height, width]: readonly [number, number, number],
  [h, w]: readonly [number, number],
  k: number,
  ignore: number,
  counts: Float64Array,
): Float32Array {
  const shares = new Float32Array(k * h * w);
  const one = (h * w) / (height * width);
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y * h) / height) * w;
    for (let x = 0; x < width; x++) {
      const label = labels[y * width + x]!;
      if (label === ignore) continue;
      shares[label * h * w + row + Math.floor((x * w) / width)]! += one;
      counts[label]! += one;
    }
  }
  return shares;
}

/** Adds a frame's sums about its mean m: Σ_{i∈S_k} x_i = s_k + n_k·m, Σ x xᵀ = G + r mᵀ + m rᵀ + n·m mᵀ with r = Σ_k s_k. */
function addFrame(
  caller: string,
  { d, sums, gram }: { readonly d: number; readonly sums: Float64Array; readonly gram: Float64Array },
  shares: Float32Array,
  part: (name: "mean" | "sums" | "gram") => Float32Array,
  place: string,
): void {
  const [mean, own, products] = [part("mean"), part("sums"), part("gram")];
  const k = sums.length / d;
  const pixels = shares.length / k;
  const rest = new Float64Array(d);
  let [n, zero] = [0, 0];
  for (let c = 0; c < k; c++) {
    let count = 0;
    for (let i = 0; i < pixels; i++) count += shares[c * pixels + i]!;
    n += count;
    for (let i = 0; i < d; i++) {
      const sum = own[c * d + i]!;
      rest[i]! += sum;
      sums[c * d + i]! += sum + count * mean[i]!;
    }
  }
  for (let i = 0; i < d; i++) {
    const other = rest[i]! + n * mean[i]!;
    for (let j = 0; j < d; j++) {
      const product = products[i * d + j]!;
      zero += product * 0;
      gram[i * d + j]! += product + other * mean[j]! + mean[i]! * rest[j]!;
    }
  }
  if (zero === 0) return;
  const fix = "Check that frame and its normalisation, and the network's weights.";
  throw new InputError(caller, "features must be finite", `NaN or infinity at ${place}`, fix);
}

/** Weights by window and class, then channel, as the convolution takes them; a class without pixels scores below all others. */
function folded(
  { weights, bias }: { readonly weights: Float64Array; readonly bias: Float64Array },
  k: number,
  c: number,
  windows: readonly number[],
): PixelExit {
  const d = c * windows.length;
  const own = new Float32Array(weights.length);
  windows.forEach((_, window) => {
    for (let label = 0; label < k; label++) {
      for (let channel = 0; channel < c; channel++) {
        own[(window * k + label) * c + channel] = weights[label * d + window * c + channel]!;
      }
    }
  });
  const least = Math.min(...bias.filter(Number.isFinite)) - 1e4;
  const held = Float32Array.from(bias, (value) => (Number.isFinite(value) ? value : least));
  return { windows: [...windows], weights: own, bias: held };
}
