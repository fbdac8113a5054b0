import {
  accumulateClassProbabilities,
  type Confusion,
  classThresholds,
  countConfusion,
  exitLogits,
  fitCarries,
  fitPixelExits,
  openSegmenter,
  type PixelExit,
  recordPixels,
  resizeLogits,
  type SegmentationExitNetwork,
  type Segmenter,
  segmentationQuality,
  solveClassThresholds,
  withCarries,
  withPixelExits,
} from "@exitkit/cbt";
import { compileProgram, type Device, ops, type Session, spec, type Tensor, tensor, trace } from "@exitkit/core-gpu";
import { CAMVID, type FramePair, type ReadFrame, readFrames } from "../../data/segmentation.ts";
import { onDevice } from "../../measuring/device.ts";
import { quantile, type TimingPlan, timeInterleaved } from "../../measuring/timing.ts";
import type { Espnet } from "../../zoo/espnet.ts";
import type { Context } from "../experiment.ts";
import { claimsOf } from "./claims.ts";
import { PAPER_THRESHOLDS, rankCorrelation } from "./paper.ts";
import { frameUri, idsUri, STOPPED_COLOURS } from "./pictures.ts";
import type { CbtPicture, CbtRow } from "./schema.ts";
import { camvid, NORMALISATION, pretrainedEspnet, SIZE, WEIGHTS } from "./subject.ts";

/** What a preset decides. */
export interface Settings {
  /** Whether CamVid of the data folder is read rather than the frames of the repository. */
  readonly whole: boolean;
  /** Every so many training frames one is used, and every so many test frames. */
  readonly steps: readonly [train: number, test: number];
  readonly singles: readonly number[];
  readonly ranges: readonly (readonly [number, number])[];
  /** Loss of mean IoU that solved thresholds may cost on the frames they are chosen on. */
  readonly losses: readonly number[];
  /** Test frames that are timed. */
  readonly timed: number;
  readonly timing: TimingPlan;
  readonly pictures: number;
}

/** A way to stop: thresholds of the test frames of each half (solved ones are chosen on the other half). */
interface Way extends Pick<CbtRow, "method" | "alpha" | "beta"> {
  readonly thresholds: (half: 0 | 1) => number | readonly number[] | readonly (readonly number[])[];
}

export async function run(context: Context, settings: Settings) {
  const { progress } = context;
  const espnet = await pretrainedEspnet();
  const { name, train, test } = await camvid(context.data.directory, settings.whole, settings.steps);
  progress.note(
    `data: ${name}, ${train.length} training and ${test.length} test frames; ESPNet as its authors trained it`,
  );
  return onDevice(context, async (device) => {
    const network = await fitted(context, device, espnet, train);
    const reads = (pairs: readonly FramePair[], title: string) => counted(context, pairs, title);
    const seen = await context.run.step("class-probabilities", () =>
      accumulateClassProbabilities(exitLogits(network, reads(train, "class probabilities"), { device }), {
        classes: 11,
      }),
    );
    const { exits, plain } = await context.run.step("exits", () => perExit(network, device, reads(test, "exits")));
    const ways: Way[] = [
      ...settings.singles.map(
        (threshold): Way => ({
          method: "one threshold",
          alpha: threshold,
          beta: threshold,
          thresholds: () => threshold,
        }),
      ),
      ...settings.ranges.map(([alpha, beta]): Way => {
        const { thresholds } = classThresholds(seen, { alpha, beta });
        return { method: "cbt", alpha, beta, thresholds: () => thresholds };
      }),
      ...(await solvedWays(context, network, device, halves(test), settings.losses)),
    ];
    const rows: CbtRow[] = [];
    const stage = progress.stage("thresholds", ways.length * test.length, "frames");
    for (const [index, way] of ways.entries()) {
      const row = await context.run.step(`way-${index}`, () =>
        measured(network, device, test, way, (by) => stage.advance(by)),
      );
      await context.run.metric({ ...row });
      rows.push(row);
    }
    stage.done();
    const timed = await context.run.step("timing", () => timings(network, device, test, ways, settings));
    const [first] = settings.ranges;
    const bars = classThresholds(seen, { alpha: first![0], beta: first![1] });
    const classes = CAMVID.classNames.map((label, c) => ({
      name: label,
      ease: bars.ease[c]!,
      threshold: bars.thresholds[c]!,
      paper: PAPER_THRESHOLDS[label]!,
      iou: plain.iou[c]!,
    }));
    const own = { network: "ESPNet", alpha: null, beta: null, execution: "", stopped: [0, 0, 0, 1] };
    const all: CbtRow[] = [
      {
        ...own,
        method: "plain",
        miou: plain.miou,
        pixelAccuracy: plain.pixelAccuracy,
        macsFraction: 1,
        wallFraction: 1,
        ms: timed.plain,
      },
      ...rows.map((row, index) => ({ ...row, ...timed.ways[index]! })),
    ];
    const correlation = rankCorrelation(
      classes.map(({ threshold }) => threshold),
      classes.map(({ paper }) => paper),
    );
    const shown = ways.find(({ method }) => method === "cbt")!;
    return {
      ranOn: device.kind,
      data: { name, train: train.length, test: test.length, timed: Math.min(settings.timed, test.length) },
      weights: [WEIGHTS],
      rows: all,
      exits,
      classes,
      rankCorrelation: correlation,
      range: [first![0], first![1]] as const,
      claims: claimsOf(all, correlation, first!),
      pictures: await pictures(network, device, test, shown, settings.pictures),
    };
  });
}

/** ESPNet with exits and carries in closed form, from the training frames. */
async function fitted(
  context: Context,
  device: Device,
  espnet: Espnet,
  train: readonly FramePair[],
): Promise<SegmentationExitNetwork> {
  const listed = (array: Float32Array) => Array.from(array);
  const revived = <T extends { readonly weights: readonly number[]; readonly bias: readonly number[] }>(own: T) => ({
    ...own,
    weights: Float32Array.from(own.weights),
    bias: Float32Array.from(own.bias),
  });
  const exits = await context.run.step("fit-exits", async () => {
    const found = await fitPixelExits(espnet, counted(context, train, "exits without training"), { device });
    return found.map((exit) => ({ ...exit, weights: listed(exit.weights), bias: listed(exit.bias) }));
  });
  const network = withPixelExits(espnet, exits.map(revived) as readonly PixelExit[]);
  const carries = await context.run.step("fit-carries", async () => {
    const found = await fitCarries(network, onlyFrames(counted(context, train, "carries")), { device });
    return found.map((own) => own.map((map) => ({ ...map, weights: listed(map.weights), bias: listed(map.bias) })));
  });
  return withCarries(
    network,
    carries.map((own) => own.map(revived)),
  );
}

/** Reads frames, counting them. */
async function* counted({ progress }: Context, pairs: readonly FramePair[], title: string): AsyncGenerator<ReadFrame> {
  const stage = progress.stage(title, pairs.length, "frames");
  for await (const frame of readFrames(pairs, CAMVID, NORMALISATION, SIZE)) {
    yield frame;
    stage.advance(1);
  }
  stage.done();
}

async function* onlyFrames(frames: AsyncIterable<ReadFrame>): AsyncGenerator<Tensor> {
  for await (const { x } of frames) yield x;
}

/** What each exit is worth if all pixels stopped there; the last is the plain network. */
async function perExit(network: SegmentationExitNetwork, device: Device, frames: AsyncIterable<ReadFrame>) {
  let confusions: Confusion[] = [];
  for await (const { logits, labels } of exitLogits(network, frames, { device })) {
    confusions = logits.map((own, exit) => {
      const answers = argMax(resizeLogits(own, SIZE));
      const before = confusions[exit];
      return countConfusion(labels, answers, { classes: 11, ...(before === undefined ? {} : { before }) });
    });
  }
  const found = confusions.map(segmentationQuality);
  const { places } = network as SegmentationExitNetwork & Espnet;
  return {
    exits: found.map(({ miou, pixelAccuracy }, exit) => ({ place: places[exit]!, miou, pixelAccuracy })),
    plain: found.at(-1)!,
  };
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
  context: Context,
  network: SegmentationExitNetwork,
  device: Device,
  parts: readonly [readonly FramePair[], readonly FramePair[]],
  losses: readonly number[],
): Promise<Way[]> {
  if (losses.length === 0) return [];
  const segmenter = await openSegmenter(network, { thresholds: 1, device, execution: "pixels" });
  const costs = segmenter.pixelMacs;
  await segmenter.release();
  const chosen = await context.run.step("solved", async () => {
    const found: (readonly (readonly number[])[])[][] = [];
    for (const part of parts) {
      const frames = counted(context, part, "record");
      const record = await recordPixels(exitLogits(network, frames, { device }), { classes: 11, every: 6 });
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

/** Mean IoU, cost and places where pixels stopped, on all test frames. */
async function measured(
  network: SegmentationExitNetwork,
  device: Device,
  test: readonly FramePair[],
  way: Way,
  advance: (by: number) => void,
): Promise<CbtRow> {
  let confusion: Confusion | undefined;
  let macs = 0;
  let full = 1;
  const stopped = [0, 0, 0, 0];
  for (const half of way.method === "solved" ? ([0, 1] as const) : ([0] as const)) {
    const pairs = way.method === "solved" ? halves(test)[half] : test;
    const segmenter = await openSegmenter(network, { thresholds: way.thresholds(half), device, execution: "pixels" });
    full = segmenter.fullMacs;
    for await (const { x, labels, source } of readFrames(pairs, CAMVID, NORMALISATION, SIZE)) {
      const result = await segmenter.segment(x);
      const before = confusion === undefined ? {} : { before: confusion };
      confusion = countConfusion(labels, result.classes, { classes: 11, source, ...before });
      macs += result.macs[0]!;
      for (const stage of result.stopped.data) stopped[stage]! += 1 / (result.stopped.data.length * test.length);
      advance(1);
    }
    await segmenter.release();
  }
  const { miou, pixelAccuracy } = segmentationQuality(confusion!);
  const { method, alpha, beta } = way;
  const fraction = macs / test.length / full;
  return {
    network: "ESPNet",
    method,
    alpha,
    beta,
    miou,
    pixelAccuracy,
    macsFraction: fraction,
    wallFraction: null,
    ms: null,
    execution: "",
    stopped,
  };
}

/** Times of the plain network and of every way on the same frames, interleaved. */
async function timings(
  network: SegmentationExitNetwork,
  device: Device,
  test: readonly FramePair[],
  ways: readonly Way[],
  { timed, timing }: Settings,
) {
  const step = Math.max(1, Math.floor(test.length / timed));
  const frames: Tensor[] = [];
  const pairs = test.filter((_, index) => index % step === 0).slice(0, timed);
  for await (const { x } of readFrames(pairs, CAMVID, NORMALISATION, SIZE)) frames.push(x);
  const plain = await openPlain(network, device);
  const segmenters: Segmenter[] = [];
  try {
    for (const way of ways) segmenters.push(await openSegmenter(network, { thresholds: way.thresholds(0), device }));
    const contenders = [
      {
        name: "plain",
        run: async () => {
          for (const frame of frames) await plain.run({ frame });
        },
      },
      ...segmenters.map((segmenter, index) => ({
        name: `${index}`,
        run: async () => {
          for (const frame of frames) await segmenter.segment(frame);
        },
      })),
    ];
    const found = await timeInterleaved(contenders, timing);
    const base = found.get("plain")!;
    const own = [];
    for (const [index, segmenter] of segmenters.entries()) {
      const { times, median } = found.get(`${index}`)!;
      let [gathered, whole] = [0, 0];
      for (const frame of frames) {
        const [executions] = (await segmenter.segment(frame)).executions;
        for (const reading of executions!.slice(1)) {
          if (reading === "pixels") gathered++;
          else if (reading === "dense") whole++;
        }
      }
      own.push({
        wallFraction: quantile(
          times.map((time, round) => time / base.times[round]!),
          0.5,
        ),
        ms: median / frames.length,
        execution: `${gathered} gathered, ${whole} whole`,
      });
    }
    return { plain: base.median / frames.length, ways: own };
  } finally {
    await plain.release();
    for (const segmenter of segmenters) await segmenter.release();
  }
}

/** The network without exits: the frame's classes. */
function openPlain({ stages, frame }: SegmentationExitNetwork, device: Device): Promise<Session> {
  const program = trace(
    (inputs) => {
      let features: Record<string, ReturnType<typeof ops.relu>> = { frame: inputs.frame };
      for (const { compute } of stages) features = { ...features, ...compute(features, (after) => after) };
      return { classes: ops.cast(ops.argMax(features[stages.at(-1)!.tap]!, { axis: 1 }), "uint8") };
    },
    { frame: spec("float32", [1, ...frame]) },
  );
  return compileProgram(device, program);
}

/** Frames beside their labels, the answer and where each pixel stopped. */
async function pictures(
  network: SegmentationExitNetwork,
  device: Device,
  test: readonly FramePair[],
  way: Way,
  count: number,
): Promise<CbtPicture[]> {
  const segmenter = await openSegmenter(network, { thresholds: way.thresholds(0), device, execution: "pixels" });
  const step = Math.max(1, Math.floor(test.length / count));
  const shown = test.filter((_, index) => index % step === Math.floor(step / 2)).slice(0, count);
  const made: CbtPicture[] = [];
  for await (const { pair, colours, x, labels } of readFrames(shown, CAMVID, NORMALISATION, SIZE)) {
    const { classes, stopped } = await segmenter.segment(x);
    const shares = STOPPED_COLOURS.map(
      (_, exit) => stopped.data.filter((stage) => stage === exit).length / stopped.data.length,
    );
    made.push({
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
