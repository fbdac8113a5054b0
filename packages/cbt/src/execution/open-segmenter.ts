import {
  compileProgram,
  type Device,
  InputError,
  openDevice,
  parseOptions,
  type Session,
  sizeOf,
  type Tensor,
  tensor,
} from "@exitkit/core-gpu";
import { z } from "zod";
import { resizedClasses } from "../frames/resized-classes.ts";
import { heldThresholds } from "../thresholds/done-pixels.ts";
import type { Fill, StageCost } from "./masked.ts";
import { checkNetwork, type SegmentationExitNetwork, type SegmentationNetwork } from "./network.ts";
import { firstProgram, layoutOf, plainProgram, type Reading, stageProgram } from "./programs.ts";

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
  readonly executions: readonly (readonly (Reading | null)[])[];
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
  /**
   * Segments frames, one after another.
   *
   * @param frames float32 [n, c, h, w].
   * @param options.thresholds Of these frames alone, e.g. of their group. Default: those it was opened with.
   * @throws InputError on another shape or dtype, frames that are not finite, thresholds that do not fit, unknown options, or a released
   * segmenter.
   */
  segment(frames: Tensor, options?: Partial<Pick<SegmenterOptions, "thresholds">>): Promise<Segmentation>;
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
      stages.push({ sessions, cost, denseFrom: null });
    }
    const open: Open = {
      network,
      grid: layout.grid,
      thresholds,
      cells: checked.cells,
      dilation: checked.dilation,
      first: firstSession,
      firstCost: first.cost.fixed,
      stages,
    };
    if (checked.execution === "auto") for (const stage of stages) stage.denseFrom = await measureStage(open, stage);
    return segmenterOf(open, plainProgram(caller, network).cost.fixed, close);
  } catch (error) {
    await close();
    throw error;
  }
}

interface OpenStage {
  readonly sessions: Partial<Record<Reading, Session>>;
  readonly cost: StageCost;
  denseFrom: number | null;
}

interface Open {
  readonly network: SegmentationExitNetwork;
  readonly grid: readonly [number, number];
  /** [e − 1] tensors [1, k]. */
  readonly thresholds: readonly Tensor<"float32">[];
  readonly cells: { readonly cell: number; readonly share: number };
  readonly dilation: number;
  readonly first: Session;
  readonly firstCost: number;
  readonly stages: readonly OpenStage[];
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
  return {
    grid: open.grid,
    fullMacs,
    pixelMacs: pixelMacsOf(open),
    denseFrom: [null, ...open.stages.map(({ denseFrom }) => denseFrom)],
    segment: async (frames, options = {}) => {
      if (released) throw new InputError(caller, "the segmenter must be open", "a released one");
      const { thresholds } = parseOptions(caller, segmentSchema, options);
      const asked =
        thresholds === undefined ? open : { ...open, thresholds: thresholdsOf(caller, thresholds, open.network) };
      checkFrames(caller, frames, frame);
      const n = frames.shape[0]!;
      const size = sizeOf(frame);
      const pixels = frame[1] * frame[2];
      const classes = new Uint8Array(n * pixels);
      const stopped = new Uint8Array(n * sizeOf(open.grid));
      const macs: number[] = [];
      const executions: (readonly (Reading | null)[])[] = [];
      for (let index = 0; index < n; index++) {
        const data = (frames.data as Float32Array).subarray(index * size, (index + 1) * size);
        const one = await segmentFrame(caller, asked, { dtype: "float32", shape: [1, ...frame], data }, index);
        classes.set(one.classes, index * pixels);
        stopped.set(one.stopped, index * sizeOf(open.grid));
        macs.push(one.macs);
        executions.push(one.executions);
      }
      return {
        classes: { dtype: "uint8", shape: [n, frame[1], frame[2]], data: classes },
        stopped: { dtype: "uint8", shape: [n, ...open.grid], data: stopped },
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

function pixelMacsOf({ firstCost, stages, grid }: Open): readonly number[] {
  const whole = stages.reduce((sum, { cost }) => sum + cost.fixed, firstCost) / sizeOf(grid);
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

async function segmentFrame(caller: string, open: Open, frame: Tensor, place: number) {
  const { stages, thresholds, grid, network } = open;
  const e = stages.length + 1;
  const size = sizeOf(grid);
  const stopped = new Uint8Array(size).fill(e - 1);
  const executions = new Array<Reading | null>(e).fill(null);
  let results = await open.first.run({ frame, thresholds: thresholds[0]! });
  executions[0] = "dense";
  let macs = open.firstCost;
  const features: Record<string, Tensor> = { "features.frame": frame };
  for (let index = 0; ; index++) {
    for (const [name, value] of Object.entries(results)) {
      if (name.startsWith("made.")) features[`features.${name.slice("made.".length)}`] = value;
    }
    checkFinite(caller, results.logits!, place, index);
    const active = goingOn(results.sure!.data as Uint8Array, stopped, index, open);
    const before = results.logits!;
    if (active.length === 0) {
      const rows = { data: before.data as Float32Array, classes: network.classes, grid, layout: "rows" } as const;
      return { classes: resizedClasses(rows, frameSize(network)), stopped, macs, executions };
    }
    const stage = stages[index]!;
    macs += costOf(stage.cost, active.length, size);
    const reading = chosen(stage, active.length / size);
    executions[index + 1] = reading;
    const feeds = feedsOf(
      stage.sessions[reading]!,
      features,
      before,
      thresholds[Math.min(index + 1, e - 2)]!,
      active,
      grid,
    );
    results = await stage.sessions[reading]!.run(feeds);
    if (index + 1 === e - 1) return { classes: classesOf(results, network), stopped, macs, executions };
  }
}

function frameSize({ frame }: SegmentationNetwork): readonly [number, number] {
  return [frame[1], frame[2]];
}

/** The frame's classes as the last program gives them, or from its logits. */
export function classesOf(results: Readonly<Record<string, Tensor>>, network: SegmentationNetwork): Uint8Array {
  if (results.classes !== undefined) return results.classes.data as Uint8Array;
  const { data, shape } = results.logits!;
  const [, classes, h, w] = shape as [number, number, number, number];
  return resizedClasses({ data: data as Float32Array, classes, grid: [h, w], layout: "planes" }, frameSize(network));
}

/** Places that go on after exit `index`; the others' stage is written down where it was open. */
function goingOn(
  sure: Uint8Array,
  stopped: Uint8Array,
  index: number,
  { grid, cells, dilation, stages }: Open,
): BigInt64Array {
  const e = stages.length + 1;
  const open = Uint8Array.from(stopped, (stage, at) => (stage === e - 1 && sure[at] === 0 ? 1 : 0));
  if (dilation > 0) dilate(open, stopped, grid, dilation, e - 1);
  if (cells.cell > 1) byCells(open, stopped, grid, cells, e - 1);
  let count = 0;
  for (let at = 0; at < open.length; at++) {
    if (open[at] === 1) count++;
    else if (stopped[at] === e - 1) stopped[at] = index;
  }
  const active = new BigInt64Array(count);
  let next = 0;
  for (let at = 0; at < open.length; at++) if (open[at] === 1) active[next++] = BigInt(at);
  return active;
}

/** What lies within `by` rows and columns of what is open is opened, as far as it was going on. */
function dilate(
  open: Uint8Array,
  stopped: Uint8Array,
  [h, w]: readonly [number, number],
  by: number,
  last: number,
): void {
  const seeds = open.slice();
  for (let at = 0; at < seeds.length; at++) {
    if (seeds[at] === 0) continue;
    const [row, column] = [Math.floor(at / w), at % w];
    for (let y = Math.max(0, row - by); y <= Math.min(h - 1, row + by); y++) {
      for (let x = Math.max(0, column - by); x <= Math.min(w - 1, column + by); x++) {
        if (stopped[y * w + x] === last) open[y * w + x] = 1;
      }
    }
  }
}

/** Cells with more than the share of their pixels open go on as a whole, as far as they were going on; the others are done. */
function byCells(
  open: Uint8Array,
  stopped: Uint8Array,
  [h, w]: readonly [number, number],
  { cell, share }: { readonly cell: number; readonly share: number },
  last: number,
): void {
  for (let top = 0; top < h; top += cell) {
    for (let left = 0; left < w; left += cell) {
      const places: number[] = [];
      for (let y = top; y < Math.min(top + cell, h); y++) {
        for (let x = left; x < Math.min(left + cell, w); x++) places.push(y * w + x);
      }
      const unsure = places.filter((at) => open[at] === 1).length;
      for (const at of places) open[at] = unsure > share * places.length && stopped[at] === last ? 1 : 0;
    }
  }
}

function costOf({ fixed, perPixel, interpolation }: StageCost, active: number, size: number): number {
  // ADP-C: (1 − p)·p·C·49·H·W.
  return fixed + perPixel * active + (interpolation * active * (size - active)) / size;
}

function chosen({ sessions, denseFrom }: OpenStage, share: number): Reading {
  if (sessions.dense === undefined) return "pixels";
  if (sessions.pixels === undefined) return "dense";
  return share >= (denseFrom ?? 1) ? "dense" : "pixels";
}

function feedsOf(
  session: Session,
  features: Readonly<Record<string, Tensor>>,
  before: Tensor,
  thresholds: Tensor,
  active: BigInt64Array,
  grid: readonly [number, number],
): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  for (const { name } of session.inputs) {
    if (name === "before") feeds[name] = before;
    else if (name === "thresholds") feeds[name] = thresholds;
    else if (name === "active") feeds[name] = { dtype: "int64", shape: [active.length, 1], data: active };
    else if (name === "mask") {
      const mask = tensor("bool", [1, 1, ...grid]);
      for (const at of active) mask.data[Number(at)] = 1;
      feeds[name] = mask;
    } else feeds[name] = features[name]!;
  }
  return feeds;
}

function checkFinite(caller: string, { data }: Tensor, frame: number, exit: number): void {
  const values = data as Float32Array;
  let zero = 0;
  for (let at = 0; at < values.length; at++) zero += values[at]! * 0;
  if (zero === 0) return;
  const fix = "Check the network's weights and the frame's normalisation.";
  throw new InputError(caller, "logits must be finite", `NaN or infinity at exit ${exit} of frame ${frame}`, fix);
}

/** Share of pixels going on from which the whole plane is faster: times of random masks at two shares make a line. */
async function measureStage(open: Open, { sessions }: OpenStage): Promise<number> {
  const { grid, network } = open;
  const size = sizeOf(grid);
  const session = sessions.pixels!;
  const features = Object.fromEntries(
    [...session.inputs, ...sessions.dense!.inputs]
      .filter(({ name }) => name.startsWith("features."))
      .map(({ name, shape }) => [name, tensor("float32", shape as number[])]),
  );
  const before = tensor("float32", [size, network.classes]);
  const time = async (reading: Reading, share: number): Promise<number> => {
    // Every ⌈1/share⌉-th pixel would be too regular a mask: runs of eight, as masks of frames have.
    const places = Array.from({ length: size }, (_, at) => at).filter(
      (at) => (Math.floor(at / 8) * 0.618034) % 1 < share,
    );
    const active = BigInt64Array.from(places, BigInt);
    const feeds = feedsOf(sessions[reading]!, features, before, open.thresholds[0]!, active, grid);
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 4; round++) {
      const start = performance.now();
      await sessions[reading]!.run(feeds);
      // The first run allocates.
      if (round > 0) best = Math.min(best, performance.now() - start);
    }
    return best;
  };
  const dense = await time("dense", 0.5);
  const [little, much] = [await time("pixels", 0.2), await time("pixels", 0.7)];
  const slope = (much - little) / 0.5;
  if (slope <= 0) return much < dense ? 1 : 0;
  return Math.min(1, Math.max(0, 0.2 + (dense - little) / slope));
}
