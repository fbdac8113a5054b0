import {
  accumulateClassProbabilities,
  type ClassProbabilities,
  type Confusion,
  calibrateFrames,
  classThresholds,
  countConfusion,
  exitLogits,
  measureFrames,
  mergeClassProbabilities,
  openPlain,
  openSegmenter,
  recordPixels,
  resizeLogits,
  type SegmentationExitNetwork,
  type Segmenter,
  type SegmenterOptions,
  segmentationQuality,
  solveClassThresholds,
} from "@exitkit/cbt";
import { type Device, generator, type Tensor, tensor } from "@exitkit/core-gpu";
import { camvid } from "../../data/camvid.ts";
import { CAMVID, type FramePair, readFrames } from "../../data/segmentation.ts";
import { meanOf } from "../../measuring/answers.ts";
import { onDevice } from "../../measuring/device.ts";
import { quantile, type TimingPlan, timeInterleaved } from "../../measuring/timing.ts";
import type { Context } from "../experiment.ts";
import { claimsOf } from "./claims.ts";
import { goalsOf } from "./goals.ts";
import { PAPER_THRESHOLDS, rankCorrelation } from "./paper.ts";
import { frameUri, idsUri, STOPPED_COLOURS } from "./pictures.ts";
import type { CbtPicture, CbtResult, CbtRow } from "./schema.ts";
import { compactSubject, counted, espnetSubject, SIZE, type Subject } from "./subject.ts";

/** The networks there are. */
export const KNOWN = ["compact HR", "ESPNet"] as const;

/** What a preset decides. */
export interface Settings {
  /** Whether CamVid of the data folder is read rather than the frames of the repository. */
  readonly whole: boolean;
  /** Every so many training frames one is used, and every so many test frames. */
  readonly steps: readonly [train: number, test: number];
  readonly networks: readonly (typeof KNOWN)[number][];
  readonly singles: readonly number[];
  readonly ranges: readonly (readonly [number, number])[];
  /** Loss of mean IoU that solved thresholds may cost on the frames they are chosen on. */
  readonly losses: readonly number[];
  /** Share of a frame's pixels that may be answered otherwise, on average; null calibrates nothing. */
  readonly changed: number | null;
  /** Test frames that are timed. */
  readonly timed: number;
  readonly timing: TimingPlan;
  readonly pictures: number;
}

type Thresholds = SegmenterOptions["thresholds"];

/** A way to stop: thresholds of the test frames of each half (solved ones are chosen on the other half). */
interface Way extends Pick<CbtRow, "method" | "alpha" | "beta"> {
  readonly thresholds: (half: 0 | 1) => Thresholds;
}

/** What is measured of one network. */
type Part = Pick<CbtResult, "rows" | "exits" | "classes" | "groups" | "calibrated" | "claims" | "goals" | "pictures">;

/** A network with exits that is measured. */
interface Measured {
  readonly context: Context;
  readonly device: Device;
  readonly settings: Settings;
  readonly subject: Subject;
  readonly network: SegmentationExitNetwork;
  /** From which shares of pixels going on what is left runs in one piece: once measured, so that quality and time are of the same answers. */
  readonly wholeFrom: readonly number[];
  readonly train: readonly FramePair[];
  readonly test: readonly FramePair[];
}

const opened = ({ network, device, wholeFrom }: Measured) =>
  openSegmenter(network, { thresholds: 2, device, execution: "pixels", wholeFrom });

export async function run(context: Context, settings: Settings) {
  const { name, train, test } = await camvid(context.data.directory, settings.whole, settings.steps);
  context.progress.note(`data: ${name}, ${train.length} training and ${test.length} test frames`);
  return onDevice(context, async (device) => {
    const parts: Part[] = [];
    const weights = [];
    for (const wanted of (context.extras.segmenters as Settings["networks"] | undefined) ?? settings.networks) {
      const subject = await (wanted === "ESPNet" ? espnetSubject() : compactSubject());
      weights.push(subject.weights);
      const network = await subject.build(context, device, train);
      const wholeFrom = await context.run.step(`${subject.weights.backbone}-whole-from`, async () => {
        const segmenter = await openSegmenter(network, { thresholds: 2, device });
        await segmenter.release();
        return segmenter.wholeFrom.map((share) => Math.min(share, 2));
      });
      parts.push(await measure({ context, device, settings, subject, network, wholeFrom, train, test }));
    }
    const [first] = settings.ranges;
    return {
      ranOn: device.kind,
      data: { name, train: train.length, test: test.length, timed: Math.min(settings.timed, test.length) },
      weights,
      range: [first![0], first![1]] as const,
      rows: parts.flatMap(({ rows }) => rows),
      exits: parts.flatMap(({ exits }) => exits),
      classes: parts.flatMap(({ classes }) => classes),
      groups: parts.flatMap(({ groups }) => groups),
      calibrated: parts.flatMap(({ calibrated }) => calibrated),
      claims: parts.flatMap(({ claims }) => claims),
      goals: parts.flatMap(({ goals }) => goals),
      pictures: parts.flatMap(({ pictures }) => pictures),
    };
  });
}

async function measure(given: Measured): Promise<Part> {
  const { context, device, settings, subject, network, train, test } = given;
  const { name } = subject;
  const step = <T>(key: string, compute: () => Promise<T>) =>
    context.run.step(`${subject.weights.backbone}-${key}`, compute);
  const reads = (pairs: readonly FramePair[], title: string) =>
    counted(context, pairs, subject.normalisation, `${name}: ${title}`);
  const seen = await step("class-probabilities", () =>
    accumulateClassProbabilities(exitLogits(network, reads(train, "class probabilities"), { device }), {
      classes: 11,
    }),
  );
  const { exits, plain } = await step("exits", () => perExit(given, reads(test, "exits")));
  const ways: Way[] = [
    ...settings.singles.map(
      (threshold): Way => ({ method: "one threshold", alpha: threshold, beta: threshold, thresholds: () => threshold }),
    ),
    ...settings.ranges.map(([alpha, beta]): Way => {
      const { thresholds } = classThresholds(seen, { alpha, beta });
      return { method: "cbt", alpha, beta, thresholds: () => thresholds };
    }),
    ...(await solvedWays(given, step, reads)),
  ];
  const rows: CbtRow[] = [];
  const stage = context.progress.stage(`${name}: thresholds`, ways.length * test.length, "frames");
  for (const [index, way] of ways.entries()) {
    const row = await step(`way-${index}`, () => measured(given, way, () => stage.advance(1)));
    await context.run.metric({ ...row });
    rows.push(row);
  }
  stage.done();
  const timed = await step("timing", () => timings(given, ways));
  const [first] = settings.ranges;
  const bars = classThresholds(seen, { alpha: first![0], beta: first![1] });
  const classes = CAMVID.classNames.map((label, c) => ({
    network: name,
    name: label,
    ease: bars.ease[c]!,
    threshold: bars.thresholds[c]!,
    paper: PAPER_THRESHOLDS[label]!,
    iou: plain.iou[c]!,
  }));
  const own = { network: name, alpha: null, beta: null, execution: "", stopped: [0, 0, 0, 1] };
  const { miou, pixelAccuracy } = plain;
  const all: CbtRow[] = [
    { ...own, method: "plain", miou, pixelAccuracy, macsFraction: 1, wallFraction: 1, ms: timed.plain },
    ...rows.map((row, index) => ({ ...row, ...timed.ways[index]! })),
  ];
  const correlation = rankCorrelation(
    classes.map(({ threshold }) => threshold),
    classes.map(({ paper }) => paper),
  );
  const shown = ways.find(({ method }) => method === "cbt")!;
  return {
    rows: all,
    exits,
    classes,
    groups: await step("groups", () => byGroup(given, seen)),
    calibrated: settings.changed === null ? [] : [await step("calibrated", () => calibrated(given, settings.changed!))],
    claims: claimsOf(all, correlation, first!),
    goals: goalsOf(all),
    pictures: await pictures(given, shown),
  };
}

/** What each exit is worth if all pixels stopped there; the last is the plain network. */
async function perExit({ network, device, subject }: Measured, frames: ReturnType<typeof counted>) {
  let confusions: Confusion[] = [];
  for await (const { logits, labels } of exitLogits(network, frames, { device })) {
    confusions = logits.map((own, exit) => {
      const answers = argMax(resizeLogits(own, SIZE));
      const before = confusions[exit];
      return countConfusion(labels, answers, { classes: 11, ...(before === undefined ? {} : { before }) });
    });
  }
  const found = confusions.map(segmentationQuality);
  const exits = found.map(({ miou, pixelAccuracy }, exit) => ({
    network: subject.name,
    place: subject.places[exit]!,
    miou,
    pixelAccuracy,
  }));
  return { exits, plain: found.at(-1)! };
}

function argMax({ shape, data }: Tensor<"float32">): Tensor<"uint8"> {
  const [, k, h, w] = shape as [number, number, number, number];
  const classes = tensor("uint8", [1, h, w]);
  for (let i = 0; i < h * w; i++) {
    let best = 0;
    for (let c = 1; c < k; c++) if (data[c * h * w + i]! > data[best * h * w + i]!) best = c;
    classes.data[i] = best;
  }
  return classes;
}

/** Test frames in two halves: CamVid's two test sequences where both are there, else every second frame. */
function halves(test: readonly FramePair[]): readonly [readonly FramePair[], readonly FramePair[]] {
  const [first] = test;
  const one = test.filter(({ sequence }) => sequence === first!.sequence);
  if (one.length < test.length) return [one, test.filter(({ sequence }) => sequence !== first!.sequence)];
  return [test.filter((_, index) => index % 2 === 0), test.filter((_, index) => index % 2 === 1)];
}

/** Thresholds of every class and exit, chosen on one half of the test frames and used on the other, both ways. */
async function solvedWays(
  { network, device, settings: { losses }, test }: Measured,
  step: <T>(key: string, compute: () => Promise<T>) => Promise<T>,
  reads: (pairs: readonly FramePair[], title: string) => ReturnType<typeof counted>,
): Promise<Way[]> {
  if (losses.length === 0) return [];
  const segmenter = await openSegmenter(network, { thresholds: 1, device, execution: "pixels" });
  const costs = segmenter.pixelMacs;
  await segmenter.release();
  const chosen = await step("solved", async () => {
    const found: (readonly (readonly number[])[])[][] = [];
    for (const part of halves(test)) {
      const record = await recordPixels(exitLogits(network, reads(part, "record"), { device }), {
        classes: 11,
        every: 6,
      });
      found.push(losses.map((maxLoss) => [...solveClassThresholds(record, { costs, maxLoss }).thresholds]));
    }
    return found;
  });
  return losses.map(
    (_, index): Way => ({
      method: "solved",
      alpha: null,
      beta: null,
      thresholds: (half) => chosen[1 - half]![index]!,
    }),
  );
}

/** Quality and cost of one segmenter's thresholds on frames. */
async function measuredOn(
  { subject }: Measured,
  segmenter: Segmenter,
  pairs: readonly FramePair[],
  thresholds: Thresholds,
  before?: Confusion,
  onFrame?: () => void,
) {
  let confusion = before;
  let macs = 0;
  const stopped = [0, 0, 0, 0];
  for await (const { x, labels, source } of readFrames(pairs, CAMVID, subject.normalisation, SIZE)) {
    const result = await segmenter.segment(x, { thresholds });
    const earlier = confusion === undefined ? {} : { before: confusion };
    confusion = countConfusion(labels, result.classes, { classes: 11, source, ...earlier });
    macs += result.macs[0]!;
    for (const stage of result.stopped.data) stopped[stage]! += 1 / result.stopped.data.length;
    onFrame?.();
  }
  return { confusion: confusion!, macs, stopped };
}

/** Mean IoU, cost and places where pixels stopped, on all test frames. */
async function measured(given: Measured, way: Way, onFrame: () => void): Promise<CbtRow> {
  const { subject, test } = given;
  const segmenter = await opened(given);
  const parts = way.method === "solved" ? halves(test) : [test];
  let confusion: Confusion | undefined;
  let macs = 0;
  const stopped = [0, 0, 0, 0];
  for (const [half, pairs] of parts.entries()) {
    const own = await measuredOn(given, segmenter, pairs, way.thresholds(half as 0 | 1), confusion, onFrame);
    confusion = own.confusion;
    macs += own.macs;
    own.stopped.forEach((share, exit) => {
      stopped[exit]! += share / test.length;
    });
  }
  await segmenter.release();
  const { miou, pixelAccuracy } = segmentationQuality(confusion!);
  const { method, alpha, beta } = way;
  return {
    network: subject.name,
    method,
    alpha,
    beta,
    miou,
    pixelAccuracy,
    macsFraction: macs / test.length / segmenter.fullMacs,
    wallFraction: null,
    ms: null,
    execution: "",
    stopped,
  };
}

/** Times of the plain network and of every way on the same frames, interleaved. */
async function timings(
  { network, device, wholeFrom, subject, test, settings: { timed, timing } }: Measured,
  ways: readonly Way[],
) {
  const step = Math.max(1, Math.floor(test.length / timed));
  const [one] = halves(test);
  const frames: { readonly x: Tensor; readonly half: 0 | 1 }[] = [];
  const pairs = test.filter((_, index) => index % step === 0).slice(0, timed);
  for await (const { x, pair } of readFrames(pairs, CAMVID, subject.normalisation, SIZE)) {
    frames.push({ x, half: one.includes(pair) ? 0 : 1 });
  }
  const plain = await openPlain(network, { device });
  const segmenter = await openSegmenter(network, { thresholds: 2, device, wholeFrom });
  try {
    const all = async (way: Way) => {
      for (const { x, half } of frames) await segmenter.segment(x, { thresholds: way.thresholds(half) });
    };
    const contenders = [
      {
        name: "plain",
        run: async () => {
          for (const { x } of frames) await plain.segment(x);
        },
      },
      ...ways.map((way, index) => ({ name: `${index}`, run: () => all(way) })),
    ];
    const found = await timeInterleaved(contenders, timing);
    const base = found.get("plain")!;
    const own = [];
    for (const [index, way] of ways.entries()) {
      const { times, median } = found.get(`${index}`)!;
      const runs = { pixels: 0, dense: 0, whole: 0 };
      for (const { x, half } of frames) {
        const [executions] = (await segmenter.segment(x, { thresholds: way.thresholds(half) })).executions;
        for (const execution of executions!.slice(1)) if (execution !== null) runs[execution]++;
      }
      own.push({
        wallFraction: quantile(
          times.map((time, round) => time / base.times[round]!),
          0.5,
        ),
        ms: median / frames.length,
        execution: `${runs.pixels} gathered, ${runs.dense} masked, ${runs.whole} in one piece`,
      });
    }
    return { plain: base.median / frames.length, ways: own };
  } finally {
    await plain.release();
    await segmenter.release();
  }
}

/** Each sequence's test frames with thresholds from all training frames, and from those of its light alone: dusk is sequence 0001TP. */
async function byGroup(given: Measured, seen: ClassProbabilities): Promise<CbtResult["groups"]> {
  const { settings, subject, test } = given;
  const dusk = "0001TP";
  const known = seen.groups ?? {};
  const day = Object.keys(known).filter((name) => name !== dusk);
  if (known[dusk] === undefined || day.length === 0) return [];
  const { groups: _, ...shared } = seen;
  const sum = (names: readonly string[]) =>
    names.map((name): ClassProbabilities => ({ ...shared, ...known[name]! })).reduce(mergeClassProbabilities);
  const [alpha, beta] = settings.ranges[0]!;
  const of = (probabilities: ClassProbabilities) => classThresholds(probabilities, { alpha, beta }).thresholds;
  const [all, apart] = [of(seen), { dusk: of(sum([dusk])), day: of(sum(day)) }];
  const segmenter = await opened(given);
  const rows: CbtResult["groups"][number][] = [];
  for (const group of ["dusk", "day"] as const) {
    const pairs = test.filter(({ sequence }) => (sequence === dusk) === (group === "dusk"));
    if (pairs.length === 0) continue;
    for (const [from, thresholds] of [
      ["all frames", all],
      ["its own frames", apart[group]],
    ] as const) {
      const { confusion, macs } = await measuredOn(given, segmenter, pairs, thresholds);
      const { miou } = segmentationQuality(confusion);
      const macsFraction = macs / pairs.length / segmenter.fullMacs;
      rows.push({ network: subject.name, group, from, frames: pairs.length, thresholds, miou, macsFraction });
    }
  }
  await segmenter.release();
  return rows;
}

/** One threshold whose share of changed pixels is bounded: a random half of the test frames chooses, the other half reports. */
async function calibrated(given: Measured, maxRisk: number): Promise<CbtResult["calibrated"][number]> {
  const { context, network, device, wholeFrom, settings, subject, test } = given;
  const random = generator(context.seed);
  const order = random.permutation(test.length);
  const half = Math.floor(test.length / 2);
  const part = (from: number, to: number) => Array.from(order.subarray(from, to), (index) => test[index]!);
  const path = settings.singles.toSorted((a, b) => b - a);
  const read = (pairs: readonly FramePair[]) =>
    measureFrames(network, counted(context, pairs, subject.normalisation, `${subject.name}: calibration`), {
      path,
      device,
      wholeFrom,
    });
  const delta = 0.1;
  const found = calibrateFrames(await read(part(0, half)), { risk: "changed", maxRisk, delta, random });
  const others = await read(part(half, test.length));
  const { point } = found;
  return {
    network: subject.name,
    maxRisk,
    delta,
    frames: found.frames,
    threshold: point === null ? null : path[point]!,
    seen: found.risk,
    others: point === null ? 0 : meanOf(others.changed[point]!),
    othersLoss: point === null ? 0 : meanOf(others.miouLoss[point]!),
    macsFraction: point === null ? null : meanOf(others.cost[point]!),
  };
}

/** Frames beside their labels, the answer and where each pixel stopped. */
async function pictures(given: Measured, way: Way): Promise<CbtPicture[]> {
  const { subject, test, settings } = given;
  const segmenter = await opened(given);
  const thresholds = way.thresholds(0);
  const step = Math.max(1, Math.floor(test.length / settings.pictures));
  const shown = test.filter((_, index) => index % step === Math.floor(step / 2)).slice(0, settings.pictures);
  const made: CbtPicture[] = [];
  for await (const { pair, colours, x, labels } of readFrames(shown, CAMVID, subject.normalisation, SIZE)) {
    const { classes, stopped } = await segmenter.segment(x, { thresholds });
    const shares = STOPPED_COLOURS.map(
      (_, exit) => stopped.data.filter((stage) => stage === exit).length / stopped.data.length,
    );
    made.push({
      network: subject.name,
      name: pair.name,
      frame: await frameUri(colours),
      labels: await idsUri(labels.data, SIZE, CAMVID.colours),
      answer: await idsUri(classes.data, SIZE, CAMVID.colours),
      stopped: await idsUri(stopped.data, segmenter.grid, STOPPED_COLOURS, 8),
      shares,
    });
  }
  await segmenter.release();
  return made;
}
