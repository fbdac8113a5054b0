import {
  asTensor,
  compileProgram,
  type Device,
  InputError,
  openDevice,
  parseOptions,
  type RuntimeTensor,
  type Session,
  sizeOf,
  type Tensor,
  tensor,
} from "@exitkit/core-gpu";
import { z } from "zod";
import { heldThresholds } from "../thresholds/done-pixels.ts";
import type { Fill } from "./masked.ts";
import { measureStages } from "./measure-stages.ts";
import { checkNetwork, type SegmentationExitNetwork } from "./network.ts";
import { firstProgram, layoutOf, plainProgram, type Reading, restProgram, stageProgram } from "./programs.ts";
import { type Open, type OpenStage, type StageExecution, segmentFrame } from "./segment-frame.ts";

/** How stages behind an exit are run: `dense` computes all pixels and masks, `pixels` only those that go on, `auto` what is faster. */
export type Execution = Reading | "auto";

/** Options of {@link openSegmenter}. */
export interface SegmenterOptions {
  /**
   * Thresholds a class must exceed for a pixel to be done: [k], the same at every exit; [e − 1][k], each exit's own; or one number
   * for all (ADP-C). Above 1 nothing is done, below 0 everything.
   */
  readonly thresholds: number | readonly number[] | readonly (readonly number[])[];
  /** Default `auto`. */
  readonly execution?: Execution;
  /**
   * [e − 1] shares of pixels going on behind each exit from which all that is left of the network runs in one piece, without masks and without
   * further exits: done pixels keep their logits, the others get the network's own. Above 1: never. Default: with `auto` measured when
   * opened, as {@link Segmenter.wholeFrom} then says, so answers can differ from machine to machine unless it is given; else never.
   */
  readonly wholeFrom?: readonly number[];
  /**
   * What pixels that go on see of those that are done: `carried`, what the network's own carries keep of them; `interpolated`, as
   * ADP-C, zeros but for a 7 × 7 interpolation behind every convolution. Default `carried`.
   */
  readonly fill?: "carried" | "interpolated";
  /** λ of the interpolation. Default 3, what ADP-C's training starts from. */
  readonly lambda?: number;
  /**
   * Share of a cell's pixels that must be unsure for all of the cell to go on; cells are squares of `cell` pixels of the
   * decisions' grid. Default: single pixels. A share of 0 dilates what goes on to whole cells.
   */
  readonly cells?: { readonly cell: number; readonly share: number };
  /** Whatever lies within so many rows and columns of a pixel that goes on goes on too, if it was going on before. Default 0. */
  readonly dilation?: number;
  /** Where to run. Default: the best device there is, opened and closed with the segmenter. */
  readonly device?: Device;
}

/** What a segmenter says of frames. */
export interface Segmentation {
  /** Classes of all pixels, uint8 [n, h', w'], of the frame's size. */
  readonly classes: Tensor<"uint8">;
  /** Stage every pixel of the decisions' grid stopped at, uint8 [n, h, w]; e − 1 is the full network. */
  readonly stopped: Tensor<"uint8">;
  /** [n] MACs that the masks of each frame asked for, exits and interpolation included. */
  readonly macs: readonly number[];
  /** [n][e] how each stage was run; null where nothing was left. */
  readonly executions: readonly (readonly (StageExecution | null)[])[];
}

/** A segmentation network that stops pixel by pixel. Must be released. */
export interface Segmenter {
  /** [h, w] of the decisions. */
  readonly grid: readonly [number, number];
  /** MACs of a frame in the network without exits. */
  readonly fullMacs: number;
  /**
   * [e] MACs of a pixel of the decisions' grid that stops at each exit; what a stage costs whatever goes on is every pixel's.
   * Interpolation is not in it.
   */
  readonly pixelMacs: readonly number[];
  /** For each stage from which share of pixels going on `auto` computes all of them; null where it was not measured. */
  readonly denseFrom: readonly (number | null)[];
  /** [e − 1] shares of pixels going on from which what is left runs whole; Infinity: never. */
  readonly wholeFrom: readonly number[];
  /**
   * Segments frames, one after another.
   *
   * @param frames float32 [n, c, h, w].
   * @param options.thresholds Of these frames alone, e.g. of their group. Default: those it was opened with.
   * @throws InputError on another shape or dtype, frames that are not finite, thresholds that do not fit, unknown options, or a released
   * segmenter.
   */
  segment(
    frames: Tensor | RuntimeTensor,
    options?: Partial<Pick<SegmenterOptions, "thresholds">>,
  ): Promise<Segmentation>;
  /** Frees what was loaded. */
  release(): Promise<void>;
}

const thresholdsOption = z.custom<SegmenterOptions["thresholds"]>(
  (value) => typeof value === "number" || Array.isArray(value),
  "must be a number, [k] or [e − 1][k] numbers",
);

const segmentSchema = z.strictObject({ thresholds: thresholdsOption.optional() });

const schema = z.strictObject({
  thresholds: thresholdsOption,
  execution: z.enum(["dense", "pixels", "auto"]).default("auto"),
  wholeFrom: z.array(z.number().min(0)).optional(),
  fill: z.enum(["carried", "interpolated"]).default("carried"),
  lambda: z.number().min(0).default(3),
  cells: z.strictObject({ cell: z.int().min(1), share: z.number().min(0).lt(1) }).default({ cell: 1, share: 0 }),
  dilation: z.int().min(0).default(0),
  device: z
    .custom<Device>((value) => typeof (value as Device | null)?.load === "function", "must be an open device")
    .optional(),
});

/**
 * Opens a segmentation exit network with thresholds. A pixel is done at the first exit where the probability of some class
 * exceeds that class' threshold; its logits are copied on, and what follows computes it no more. Behind the last exit of a frame with
 * nothing left, no stage runs at all.
 *
 * The decision is taken on the grid of the exits' logits as they are. The answer at the frame's size is the arg max of bilinearly
 * resized logits (half pixels): the full network's, and where the grid's nearest pixel is done those of its exit, resized to the full
 * network's own grid.
 *
 * @throws InputError on a network whose stages, taps or heads do not fit, thresholds of another number of classes or exits, or unknown
 * options.
 * Source: CBT, step 5 and Fig. 2 [S]; ADP-C (masked convolutions, copied logits) [S: code]. Differs: `carried` in place of interpolation
 * by default, for networks that were not trained with masks; pixels that are done are really not computed.
 * @example
 * ```ts
 * import { generator, ops, tensor } from "@exitkit/core-gpu";
 * import { openSegmenter, type SegmentationExitNetwork } from "@exitkit/cbt";
 * // Two stages of 3×3 convolutions on one grid, random weights; 3 classes.
 * const random = generator(1);
 * const drawn = (...shape: number[]) =>
 *   tensor("float32", shape, Array.from({ length: shape.reduce((a, b) => a * b) }, () => random.normal() / 4));
 * const [stem, block, exit, last] = [drawn(8, 3, 3, 3), drawn(8, 8, 3, 3), drawn(3, 8, 1, 1), drawn(3, 8, 1, 1)];
 * const network: SegmentationExitNetwork = {
 *   frame: [3, 16, 16],
 *   classes: 3,
 *   stages: [
 *     { compute: ({ frame }) => ({ x: ops.relu(ops.conv(frame!, stem, { padding: 1 })) }), tap: "x" },
 *     {
 *       compute: ({ x }, carry) => ({ logits: ops.conv(carry(ops.add(x!, ops.conv(x!, block, { padding: 1 })), x!), last) }),
 *       tap: "logits",
 *     },
 *   ],
 *   heads: [(x) => ops.conv(x, exit)],
 * };
 * const segmenter = await openSegmenter(network, { thresholds: [0.4, 0.5, 0.5], execution: "pixels" });
 * const { classes, stopped, macs } = await segmenter.segment(drawn(1, 3, 16, 16));
 * console.assert(classes.data.length === 256 && stopped.data.includes(0) && macs[0]! > 0);
 * await segmenter.release();
 * ```
 */
export async function openSegmenter(network: SegmentationExitNetwork, options: SegmenterOptions): Promise<Segmenter> {
  const caller = "cbt.openSegmenter";
  const checked = parseOptions(caller, schema, options);
  checkNetwork(caller, network);
  const layout = layoutOf(caller, network);
  const thresholds = thresholdsOf(caller, checked.thresholds, network);
  const { wholeFrom } = checked;
  if (wholeFrom !== undefined && wholeFrom.length !== network.stages.length - 1) {
    throw new InputError(caller, `wholeFrom must be of ${network.stages.length - 1} exits`, `${wholeFrom.length}`);
  }
  const fill: Fill =
    checked.fill === "carried" ? { kind: "carried" } : { kind: "interpolated", lambda: checked.lambda };
  const device = checked.device ?? (await openDevice("auto"));
  const opened: Session[] = [];
  const load = async (program: Parameters<typeof compileProgram>[1]): Promise<Session> => {
    const session = await compileProgram(device, program);
    opened.push(session);
    return session;
  };
  const close = async () => {
    for (const session of opened) await session.release();
    if (checked.device === undefined) await device.close();
  };
  try {
    const first = firstProgram(caller, network, layout);
    const firstSession = await load(first.program);
    const readings: readonly Reading[] = checked.execution === "auto" ? ["dense", "pixels"] : [checked.execution];
    const stages: OpenStage[] = [];
    for (let index = 1; index < network.stages.length; index++) {
      const sessions: Partial<Record<Reading, Session>> = {};
      for (const reading of readings) {
        sessions[reading] = await load(stageProgram(caller, network, layout, index, reading, fill).program);
      }
      // What the mask asks for does not depend on how it is run: the gathered form says it.
      const { cost } = stageProgram(caller, network, layout, index, "pixels", fill);
      const from = wholeFrom?.[index - 1] ?? Number.POSITIVE_INFINITY;
      let rest: OpenStage["rest"] = null;
      if (from <= 1 || (wholeFrom === undefined && checked.execution === "auto")) {
        const all = restProgram(caller, network, layout, index);
        rest = { session: await load(all.program), macs: all.cost.fixed };
      }
      stages.push({ sessions, cost, rest, denseFrom: null, wholeFrom: from });
    }
    const open: Open = {
      network,
      goingOn: {
        grid: layout.grid,
        cells: checked.cells,
        dilation: checked.dilation,
        last: network.stages.length - 1,
      },
      thresholds,
      first: firstSession,
      firstCost: first.cost.fixed,
      stages,
    };
    if (checked.execution === "auto") await measureStages(open, wholeFrom === undefined);
    return segmenterOf(open, plainProgram(caller, network).cost.fixed, close);
  } catch (error) {
    await close();
    throw error;
  }
}

function thresholdsOf(
  caller: string,
  given: SegmenterOptions["thresholds"],
  { classes, stages }: SegmentationExitNetwork,
): readonly Tensor<"float32">[] {
  const exits = stages.length - 1;
  const nested = Array.isArray(given) && given.some((entry) => typeof entry !== "number");
  if (nested && given.length !== exits) {
    throw new InputError(caller, `thresholds must be of ${exits} exits`, `${given.length}`);
  }
  return Array.from({ length: exits }, (_, exit) => {
    const own = nested ? (given as readonly (readonly number[])[])[exit]! : (given as number | readonly number[]);
    return tensor("float32", [1, classes], heldThresholds(caller, own, classes));
  });
}

function segmenterOf(open: Open, fullMacs: number, close: () => Promise<void>): Segmenter {
  const caller = "cbt.Segmenter.segment";
  let released = false;
  const { frame } = open.network;
  const { grid } = open.goingOn;
  return {
    grid,
    fullMacs,
    pixelMacs: pixelMacsOf(open),
    denseFrom: [null, ...open.stages.map(({ denseFrom }) => denseFrom)],
    wholeFrom: open.stages.map(({ wholeFrom }) => wholeFrom),
    segment: async (given, options = {}) => {
      if (released) throw new InputError(caller, "the segmenter must be open", "a released one");
      const { thresholds } = parseOptions(caller, segmentSchema, options);
      const asked =
        thresholds === undefined ? open : { ...open, thresholds: thresholdsOf(caller, thresholds, open.network) };
      const frames = asTensor(given);
      checkFrames(caller, frames, frame);
      const n = frames.shape[0]!;
      const size = sizeOf(frame);
      const pixels = frame[1] * frame[2];
      const classes = new Uint8Array(n * pixels);
      const stopped = new Uint8Array(n * sizeOf(grid));
      const macs: number[] = [];
      const executions: (readonly (StageExecution | null)[])[] = [];
      for (let index = 0; index < n; index++) {
        const data = (frames.data as Float32Array).subarray(index * size, (index + 1) * size);
        const one = await segmentFrame(caller, asked, { dtype: "float32", shape: [1, ...frame], data }, index);
        classes.set(one.classes, index * pixels);
        stopped.set(one.stopped, index * sizeOf(grid));
        macs.push(one.macs);
        executions.push(one.executions);
      }
      return {
        classes: { dtype: "uint8", shape: [n, frame[1], frame[2]], data: classes },
        stopped: { dtype: "uint8", shape: [n, ...grid], data: stopped },
        macs,
        executions,
      };
    },
    release: async () => {
      if (released) return;
      released = true;
      await close();
    },
  };
}

function pixelMacsOf({ firstCost, stages, goingOn }: Open): readonly number[] {
  const whole = stages.reduce((sum, { cost }) => sum + cost.fixed, firstCost) / sizeOf(goingOn.grid);
  const macs = [whole];
  for (const { cost } of stages) macs.push(macs.at(-1)! + cost.perPixel);
  return macs;
}

function checkFrames(caller: string, frames: Tensor, frame: readonly number[]): void {
  const { dtype, shape, data } = (frames ?? {}) as Partial<Tensor>;
  const fits = shape?.length === 4 && shape.slice(1).join() === frame.join() && data?.length === sizeOf(shape);
  if (dtype !== "float32" || !(data instanceof Float32Array) || !fits) {
    const actual = shape === undefined ? typeof frames : `${dtype} [${shape.join(", ")}]`;
    throw new InputError(caller, `frames must be float32 [n, ${frame.join(", ")}]`, actual);
  }
  let zero = 0;
  for (let at = 0; at < data.length; at++) zero += data[at]! * 0;
  if (zero === 0) return;
  const bad = data.findIndex((value) => !Number.isFinite(value));
  const fix = "Check how that frame was decoded and normalised.";
  throw new InputError(
    caller,
    "frames must be finite",
    `${data[bad]} in frame ${Math.floor(bad / sizeOf(frame))}`,
    fix,
  );
}
