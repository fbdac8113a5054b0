import { InputError, type Session, sizeOf, type Tensor } from "@exitkit/core-gpu";
import { resizedClasses } from "../frames/resized-classes.ts";
import { type GoingOn, goingOn } from "./going-on.ts";
import type { StageCost } from "./masked.ts";
import type { SegmentationExitNetwork, SegmentationNetwork } from "./network.ts";
import type { Reading } from "./programs.ts";

/** How a stage was run: as {@link Reading} says, or with all that follow in one piece, `whole`. */
export type StageExecution = Reading | "whole";

/** A stage behind an exit, loaded. */
export interface OpenStage {
  readonly sessions: Partial<Record<Reading, Session>>;
  readonly cost: StageCost;
  /** The stage and all that follow in one piece; null where a segmenter never runs them so. */
  readonly rest: { readonly session: Session; readonly macs: number } | null;
  /** Share of pixels going on from which all of them are computed; null: not measured. */
  denseFrom: number | null;
  /** Share from which `rest` runs. */
  wholeFrom: number;
}

/** A segmenter's parts. */
export interface Open {
  readonly network: SegmentationExitNetwork;
  readonly goingOn: GoingOn;
  /** [e − 1] tensors [1, k]. */
  readonly thresholds: readonly Tensor<"float32">[];
  readonly first: Session;
  readonly firstCost: number;
  readonly stages: readonly OpenStage[];
}

/** Segments one frame, of number `place` for messages. */
export async function segmentFrame(caller: string, open: Open, frame: Tensor, place: number) {
  const { stages, thresholds, network } = open;
  const { grid } = open.goingOn;
  const e = stages.length + 1;
  const size = sizeOf(grid);
  const stopped = new Uint8Array(size).fill(e - 1);
  const executions = new Array<StageExecution | null>(e).fill(null);
  let results = await open.first.run({ frame, thresholds: thresholds[0]! });
  executions[0] = "dense";
  let macs = open.firstCost;
  const features: Record<string, Tensor> = { "features.frame": frame };
  for (let index = 0; ; index++) {
    for (const [name, value] of Object.entries(results)) {
      if (name.startsWith("made.")) features[`features.${name.slice("made.".length)}`] = value;
    }
    checkFinite(caller, results.logits!, place, index);
    const active = goingOn(results.sure!.data as Uint8Array, stopped, index, open.goingOn);
    const before = results.logits!;
    if (active.length === 0) return { classes: earlyClasses(before, grid, network), stopped, macs, executions };
    const stage = stages[index]!;
    const [share, last] = [active.length / size, index + 1 === e - 1];
    const given = { features, before, thresholds: thresholds[Math.min(index + 1, e - 2)]!, active, grid };
    if (stage.rest !== null && share >= stage.wholeFrom) {
      executions.fill("whole", index + 1);
      macs += stage.rest.macs;
      const found = await stage.rest.session.run(feedsOf(stage.rest.session, given));
      return { classes: mergedClasses(found, given, network), stopped, macs, executions };
    }
    macs += costOf(stage.cost, active.length, size);
    const reading = chosen(stage, share);
    executions[index + 1] = reading;
    results = await stage.sessions[reading]!.run(feedsOf(stage.sessions[reading]!, given));
    if (last) return { classes: mergedClasses(results, given, network), stopped, macs, executions };
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

/** The classes of logits [h·w, k] on the grid of the decisions. */
function earlyClasses({ data }: Tensor, grid: readonly [number, number], network: SegmentationNetwork): Uint8Array {
  const rows = { data: data as Float32Array, classes: network.classes, grid, layout: "rows" } as const;
  return resizedClasses(rows, frameSize(network));
}

/** What the last stage answers: where it gives the network's `own` classes, those of earlier exits where the grid's nearest pixel is done. */
function mergedClasses(
  results: Readonly<Record<string, Tensor>>,
  { before, active, grid }: StageFeeds,
  network: SegmentationNetwork,
): Uint8Array {
  const own = results.own?.data as Uint8Array | undefined;
  if (own === undefined) return classesOf(results, network);
  const [h, w] = grid;
  const [height, width] = frameSize(network);
  if (active.length === h * w) return own;
  const going = maskOf(active, grid);
  const merged = earlyClasses(before, grid, network);
  const columns = Int32Array.from({ length: width }, (_, x) => Math.floor((x * w) / width));
  for (let y = 0, at = 0; y < height; y++) {
    const row = Math.floor((y * h) / height) * w;
    for (let x = 0; x < width; x++, at++) if (going[row + columns[x]!] === 1) merged[at] = own[at]!;
  }
  return merged;
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

/** What a stage behind an exit is given. */
export interface StageFeeds {
  readonly features: Readonly<Record<string, Tensor>>;
  /** Logits so far, [h·w, k]. */
  readonly before: Tensor;
  readonly thresholds: Tensor;
  /** Places that go on, rising. */
  readonly active: BigInt64Array;
  readonly grid: readonly [number, number];
}

/** The inputs of a stage's session. */
export function feedsOf(
  session: Session,
  { features, before, thresholds, active, grid }: StageFeeds,
): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  for (const { name } of session.inputs) {
    if (name === "before") feeds[name] = before;
    else if (name === "thresholds") feeds[name] = thresholds;
    else if (name === "active") feeds[name] = { dtype: "int64", shape: [active.length, 1], data: active };
    else if (name === "mask") {
      feeds[name] = { dtype: "bool", shape: [1, 1, ...grid], data: maskOf(active, grid) };
    } else feeds[name] = features[name]!;
  }
  return feeds;
}

/** [h·w], 1 at the places that go on. */
function maskOf(active: BigInt64Array, grid: readonly [number, number]): Uint8Array {
  const mask = new Uint8Array(sizeOf(grid));
  for (const at of active) mask[Number(at)] = 1;
  return mask;
}

function checkFinite(caller: string, { data }: Tensor, frame: number, exit: number): void {
  const values = data as Float32Array;
  let zero = 0;
  for (let at = 0; at < values.length; at++) zero += values[at]! * 0;
  if (zero === 0) return;
  const fix = "Check the network's weights and the frame's normalisation.";
  throw new InputError(caller, "logits must be finite", `NaN or infinity at exit ${exit} of frame ${frame}`, fix);
}
