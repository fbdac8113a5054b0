import {
  asTensor,
  compileProgram,
  type Device,
  InputError,
  openDevice,
  ops,
  parseOptions,
  type RuntimeTensor,
  sizeOf,
  spec,
  type Tensor,
  tensor,
  trace,
  until,
  type Value,
} from "@exitkit/core-gpu";
import { z } from "zod";
import { checkNetwork, type Features, type SegmentationNetwork } from "../execution/network.ts";
import { average } from "./average.ts";
import { choleskyFactor, choleskySolve } from "./cholesky.ts";
import { deviceOption } from "./pixel-exits.ts";

/** A linear map of pixels' features: what done pixels keep is predicted from what they had. Plain data. */
export interface CarryMap {
  /** Odd sides of the windows whose averages join a pixel's own features. */
  readonly windows: readonly number[];
  /** Row-major [windows · out, c]. */
  readonly weights: Float32Array;
  /** [out]. */
  readonly bias: Float32Array;
  /** Share of the variance of the features that the map explains, of pixels it was fitted on; at most 1. */
  readonly explained: number;
}

/** [e][calls]: a map for every `carry` of every stage, in the order of the calls. */
export type Carries = readonly (readonly CarryMap[])[];

/** Options of {@link fitCarries}. */
export interface FitCarriesOptions {
  /** Odd sides of the windows whose averages join a pixel's own features. Default [1]. */
  readonly windows?: readonly number[];
  /** Ridge beside the features' own squares, ≥ 0. Default 1e-4. */
  readonly ridge?: number;
  /** Where the network runs. Default: the best device there is, opened and closed by the call. */
  readonly device?: Device;
  /** Ends the call between two batches: it rejects with the signal's reason, streams are closed, the device can be used on. */
  readonly signal?: AbortSignal;
  /** Called after every batch with the number of frames so far. */
  readonly onProgress?: (frames: number) => void;
}

const oddSide = z
  .int()
  .min(1)
  .refine((side) => side % 2 === 1, "must be odd");

const schema = z.strictObject({
  windows: z.array(oddSide).min(1).readonly().default([1]),
  ridge: z.number().min(0).default(1e-4),
  device: deviceOption,
  signal: z.instanceof(AbortSignal).optional(),
  onProgress: z
    .custom<(frames: number) => void>((value) => typeof value === "function", "must be a function")
    .optional(),
});

/** One carry of a stage, as it is met when the stage is traced. */
interface Call {
  readonly stage: number;
  readonly after: Value;
  readonly before: Value;
}

/**
 * Fits what done pixels keep, in closed form from one pass over frames; no labels. A carry's `before` may then be any features on the grid
 * of the decisions, of any number of channels: where a pixel is done, `after` is a linear map of its `before` (and of averages of it
 * over windows), least squares over all pixels of the frames with nothing left out, (G + ridge·diag G)⁻¹·C of the sums G = Σ z zᵀ,
 * C = Σ z yᵀ. Pixels that go on then see neighbours much as they would have become, for a 1 × 1 convolution.
 *
 * @param frames float32 [n, c, h, w] each.
 * @returns For {@link withCarries}.
 * @throws InputError on a network or frames that do not fit, features that are not finite or lie on another grid than what replaces them,
 * no frames, or unknown options.
 * Source: no paper's; in place of ADP-C's interpolation for networks that were not trained with masks [D].
 */
export async function fitCarries(
  network: SegmentationNetwork,
  frames: AsyncIterable<Tensor | RuntimeTensor> | Iterable<Tensor | RuntimeTensor>,
  options: FitCarriesOptions = {},
): Promise<Carries> {
  const caller = "cbt.fitCarries";
  const { windows, ridge, device: lent, signal, onProgress } = parseOptions(caller, schema, options);
  checkNetwork(caller, network);
  const { program, shapes } = summing(caller, network, windows);
  const device = lent ?? (await openDevice("auto"));
  try {
    const session = await compileProgram(device, program);
    const sums = shapes.map(({ d, out }) => ({
      gram: new Float64Array(d * d),
      cross: new Float64Array(out * d),
      squares: new Float64Array(out),
    }));
    const size = sizeOf(network.frame);
    let seen = 0;
    try {
      for await (const given of until(signal, frames)) {
        const batch = asTensor(given);
        const shape = batch?.shape ?? [];
        if (batch?.dtype !== "float32" || shape.length !== 4 || shape.slice(1).join() !== network.frame.join()) {
          const actual = `${batch?.dtype ?? typeof batch} [${shape.join(", ")}]`;
          throw new InputError(caller, `frames must be float32 [n, ${network.frame.join(", ")}]`, actual);
        }
        for (let index = 0; index < shape[0]!; index++) {
          signal?.throwIfAborted();
          const data = batch.data.subarray(index * size, (index + 1) * size);
          const results = await session.run({ frame: { dtype: "float32", shape: [1, ...network.frame], data } });
          sums.forEach((own, call) => {
            for (const part of ["gram", "cross", "squares"] as const) {
              addAll(caller, own[part], results[`calls.${call}.${part}`]!, `carry ${call} of frame ${seen + index}`);
            }
          });
        }
        seen += shape[0]!;
        onProgress?.(seen);
      }
    } finally {
      await session.release();
    }
    if (seen === 0) throw new InputError(caller, "at least one batch of frames", "none", "Is the stream used up?");
    const maps = sums.map((own, call) => solved(caller, own, shapes[call]!, windows, ridge));
    return network.stages.map((_, stage) => maps.filter((_, call) => shapes[call]!.stage === stage));
  } finally {
    if (lent === undefined) await device.close();
  }
}

/**
 * The network with fitted carries: where a pixel is done it keeps what its map predicts.
 *
 * @throws InputError where there are not as many stages of maps, or (when the network is opened) not as many maps as a stage has carries.
 */
export function withCarries<N extends SegmentationNetwork>(network: N, carries: Carries): N {
  const caller = "cbt.withCarries";
  checkNetwork(caller, network);
  if (!Array.isArray(carries) || carries.length !== network.stages.length) {
    const actual = Array.isArray(carries) ? `${carries.length}` : typeof carries;
    throw new InputError(caller, `carries must be those of ${network.stages.length} stages`, actual);
  }
  const stages = network.stages.map(({ compute, ...stated }, stage) => ({
    ...stated,
    compute: (features: Features, carry: (after: Value, before: Value) => Value) => {
      let call = 0;
      const made = compute(features, (after, before) => {
        const map = carries[stage]![call++];
        if (map === undefined) {
          throw new InputError(caller, `stage ${stage} must have ${carries[stage]!.length} carries`, `${call} or more`);
        }
        return carry(after, mapped(caller, map, before, after));
      });
      if (call === carries[stage]!.length) return made;
      throw new InputError(caller, `stage ${stage} must have ${carries[stage]!.length} carries`, `${call}`);
    },
  }));
  return { ...network, stages };
}

/** A map's prediction of `after` from `before`. */
function mapped(caller: string, { windows, weights, bias }: CarryMap, before: Value, after: Value): Value {
  const [c, out] = [before.shape[1] as number, after.shape[1] as number];
  if (bias.length !== out || weights.length !== windows.length * out * c) {
    const actual = `${weights.length} weights, ${bias.length} biases`;
    throw new InputError(caller, `a carry from ${c} to ${out} channels must have a map of these`, actual);
  }
  if (windows.length === 1) {
    const kernel = tensor("float32", [out, c, 1, 1], weights);
    return average(ops.conv(before, kernel, { bias: tensor("float32", [out], bias) }), windows[0]!);
  }
  const scores = ops.conv(before, tensor("float32", [windows.length * out, c, 1, 1], weights));
  const parts = windows.map((side, at) =>
    average(ops.slice(scores, { axis: 1, from: at * out, to: (at + 1) * out }), side),
  );
  return ops.add(
    parts.reduce((sum, part) => ops.add(sum, part)),
    tensor("float32", [1, out, 1, 1], bias),
  );
}

interface CallShape {
  readonly stage: number;
  /** Features a pixel and one. */
  readonly d: number;
  readonly out: number;
}

/** All carries of a network with nothing left out. */
function calls(network: SegmentationNetwork, frame: Value): Call[] {
  const found: Call[] = [];
  let features: Record<string, Value> = { frame };
  network.stages.forEach(({ compute }, stage) => {
    const made = compute(features, (after, before) => {
      found.push({ stage, after, before });
      return after;
    });
    features = { ...features, ...made };
  });
  return found;
}

/** Sums over one frame's pixels as a program. */
function summing(caller: string, network: SegmentationNetwork, windows: readonly number[]) {
  const shapes: CallShape[] = [];
  const program = trace(
    ({ frame }) => {
      const bySource = new Map<Value, { rows: Value; gram: Value }>();
      const found = calls(network, frame);
      if (found.length === 0) throw new InputError(caller, "the network's stages must carry something", "no carry");
      return {
        calls: found.map(({ stage, after, before }) => {
          const [, c, h, w] = before.shape as [number, number, number, number];
          const [, out, ...grid] = after.shape as number[];
          if (grid.join() !== [h, w].join()) {
            const actual = `[${h}, ${w}] and [${grid.join(", ")}]`;
            throw new InputError(caller, `both sides of a carry of stage ${stage} must lie on one grid`, actual);
          }
          const d = c * windows.length + 1;
          shapes.push({ stage, d, out: out! });
          let source = bySource.get(before);
          if (source === undefined) {
            const parts = windows.map((side) => average(before, side));
            const features = ops.concat(
              [...parts, tensor("float32", [1, 1, h, w], new Float32Array(h * w).fill(1))],
              1,
            );
            const rows = ops.reshape(features, [d, h * w]);
            source = { rows, gram: ops.matmul(rows, ops.transpose(rows, [1, 0])) };
            bySource.set(before, source);
          }
          const targets = ops.reshape(after, [out!, h * w]);
          return {
            gram: ops.identity(source.gram),
            cross: ops.matmul(targets, ops.transpose(source.rows, [1, 0])),
            squares: ops.sumSquares(targets, { axes: [1], keepDimensions: false }),
          };
        }),
      };
    },
    { frame: spec("float32", [1, ...network.frame]) },
  );
  return { program, shapes };
}

function addAll(caller: string, total: Float64Array, { data }: Tensor, place: string): void {
  let zero = 0;
  for (let at = 0; at < total.length; at++) {
    const value = data[at] as number;
    zero += value * 0;
    total[at]! += value;
  }
  if (zero !== 0) throw new InputError(caller, "features must be finite", `NaN or infinity at ${place}`);
}

function solved(
  caller: string,
  { gram, cross, squares }: Record<"gram" | "cross" | "squares", Float64Array>,
  { d, out }: CallShape,
  windows: readonly number[],
  ridge: number,
): CarryMap {
  const n = gram[d * d - 1]!;
  const drawn = gram.slice();
  // The constant is not drawn to zero; features that are never there still need a positive diagonal.
  for (let i = 0; i < d - 1; i++) drawn[i * d + i] = gram[i * d + i]! * (1 + ridge) + 1e-9 * n;
  const factor = choleskyFactor(drawn, d);
  if (factor === null) {
    const fix = "Use a larger ridge, or more frames.";
    throw new InputError(caller, "the features' products must be invertible", `those of ${n} pixels`, fix);
  }
  const c = (d - 1) / windows.length;
  const weights = new Float32Array(out * (d - 1));
  const bias = new Float32Array(out);
  let [missed, total] = [0, 0];
  for (let o = 0; o < out; o++) {
    const own = cross.subarray(o * d, (o + 1) * d);
    const solution = own.slice();
    choleskySolve(factor, d, solution);
    let explained = 0;
    for (let i = 0; i < d; i++) {
      explained += 2 * solution[i]! * own[i]!;
      for (let j = 0; j < d; j++) explained -= solution[i]! * solution[j]! * gram[i * d + j]!;
    }
    missed += squares[o]! - explained;
    total += squares[o]! - own[d - 1]! ** 2 / n;
    bias[o] = solution[d - 1]!;
    windows.forEach((_, window) => {
      for (let channel = 0; channel < c; channel++) {
        weights[(window * out + o) * c + channel] = solution[window * c + channel]!;
      }
    });
  }
  return { windows: [...windows], weights, bias, explained: total > 0 ? 1 - missed / total : 1 };
}
