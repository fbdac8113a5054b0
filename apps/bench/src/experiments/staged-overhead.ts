import os from "node:os";
import { type Device, generator, openDevice, type Tensor, tensor } from "@exitkit/core-gpu";
import { ALWAYS, openStaged, recordExits, type StagedClassifier } from "@exitkit/early-exit";
import { type Batch, oneBatch } from "../data/batches.ts";
import { slicePictures } from "../data/pictures.ts";
import type { Environment } from "../runs/environment.ts";
import type { Backbone } from "../zoo/backbone.ts";
import { pretrained } from "../zoo/resnet.ts";
import { wideResnet16x4 } from "../zoo/wide-resnet.ts";
import type { Context, Experiment, ExperimentResult } from "./experiment.ts";
import { costsOf, withCheapExits } from "./heads.ts";
import { halvingThresholds, type Scenario } from "./scenarios.ts";
import { quantile, type TimingPlan, timeInterleaved } from "./timing.ts";

/** One measured combination; times are medians in milliseconds a batch. */
export interface OverheadRow {
  readonly backbone: string;
  readonly batch: number;
  readonly scenario: Scenario;
  /** Mean MACs a sample pays, heads included ÷ MACs of the plain network. */
  readonly macsFraction: number;
  /** Staged ÷ plain time of the same round, the median over rounds: a machine that gets busy slows both. */
  readonly wallFraction: number;
  readonly plainMs: number;
  readonly stagedMs: number;
  /** Lower and upper quartile of the same times. */
  readonly plainQuartiles: readonly [number, number];
  readonly stagedQuartiles: readonly [number, number];
  /** Rounds the medians are over. */
  readonly runs: number;
  readonly cuts: number;
  /** What a cut costs beyond the arithmetic: median over rounds of (staged − macsFraction · plain) ÷ cuts. */
  readonly msPerCut: number;
  readonly rowsPerStage: readonly number[];
  /** Load average over the last minute, after the measurement. */
  readonly load: number;
}

const BATCHES = [1, 16, 64, 256];

/** No probability exceeds 1. Exits that are switched off (`NEVER`) would not be computed, nor the network in stages. */
const NOTHING_LEAVES = [1, 1];

const PLANS: Readonly<Record<Context["preset"], TimingPlan>> = {
  quick: { budget: 3000, leastRounds: 5, mostRounds: 25 },
  full: { budget: 15_000, leastRounds: 11, mostRounds: 201 },
};

/** Wall clock of staged execution against the plain session. */
export const stagedOverhead: Experiment = {
  name: "staged-overhead",
  title: "What staged execution costs and saves in wall-clock time",
  about:
    "Three backbones in three stages with cheap exits, against the same backbone in one plain session, interleaved: when " +
    "nothing leaves early, when half of the pictures leave at each exit, and when all leave at the first.",
  run,
};

async function run(context: Context): Promise<ExperimentResult> {
  const { run: folder, progress, preset, seed } = context;
  const { test } = await context.data.cifar10();
  const device = await openDevice(context.device);
  const rows: OverheadRow[] = [];
  try {
    for (const { kind, reason } of device.passedOver) progress.note(`not on ${kind}: ${reason}`);
    const backbones = [await pretrained("resnet20"), await pretrained("resnet56"), wideResnet16x4(seed)];
    const stage = progress.stage("timing", backbones.length * BATCHES.length, "combinations");
    for (const backbone of backbones) {
      for (const size of BATCHES) {
        const measured = await folder.step(`${backbone.name}-batch${size}`, async () => {
          const batch = oneBatch(slicePictures(test, 0, size));
          const found = await measure(device, backbone, batch, seed, PLANS[preset]);
          for (const row of found) await folder.metric({ ...row });
          return found;
        });
        rows.push(...measured);
        stage.advance(1);
      }
    }
    stage.done();
  } finally {
    await device.close();
  }
  const { kind } = device;
  return { values: { ranOn: kind, rows }, summary: summary(rows, folder.environment) };
}

/**
 * Times one backbone at one batch size in every scenario.
 *
 * @throws Error when staged execution without exits does not answer as the plain network does.
 */
export async function measure(
  device: Device,
  backbone: Backbone,
  batch: Batch,
  seed: number,
  plan: TimingPlan,
): Promise<readonly OverheadRow[]> {
  const exitModel = withCheapExits(backbone, generator(seed));
  const costs = await costsOf(device, backbone, exitModel);
  const size = batch.y.length;
  const record = await recordExits(device, exitModel, only(batch));
  const thresholds = new Map<Scenario, readonly number[]>([["no exits", NOTHING_LEAVES]]);
  if (size > 1) thresholds.set("half leave at each exit", halvingThresholds(record.confidences));
  thresholds.set("all leave first", [ALWAYS, 1]);

  const plain = await device.load(backbone.model);
  const staged = await openStaged(device, exitModel);
  try {
    const into = { [backbone.output]: tensor("float32", [size, 10]) };
    const feeds = { [backbone.input]: batch.x };
    await plain.run(feeds, { into });
    await checkNoExits(staged, batch, into[backbone.output]!);
    const classified = new Map<Scenario, readonly number[]>();
    const contenders = [...thresholds].map(([name, values]) => ({
      name,
      run: async () => classified.set(name, (await staged.classify(batch.x, values)).rowsPerStage),
    }));
    const times = await timeInterleaved(
      [{ name: "plain", run: () => plain.run(feeds, { into }) }, ...contenders],
      plan,
    );
    const plainTime = times.get("plain")!;
    const cuts = exitModel.exits.length - 1;
    return [...thresholds.keys()].map((scenario) => {
      const time = times.get(scenario)!;
      const rowsPerStage = classified.get(scenario)!;
      const leaving = costs.exits.map((cost, exit) => cost * (rowsPerStage[exit]! - (rowsPerStage[exit + 1] ?? 0)));
      const macsFraction = leaving.reduce((sum, macs) => sum + macs, 0) / size / costs.full;
      const overRounds = (compare: (staged: number, plain: number) => number) =>
        quantile(
          time.times.map((staged, round) => compare(staged, plainTime.times[round]!)),
          0.5,
        );
      return {
        backbone: backbone.name,
        batch: size,
        scenario,
        macsFraction,
        wallFraction: overRounds((staged, plain) => staged / plain),
        plainMs: plainTime.median,
        stagedMs: time.median,
        plainQuartiles: [plainTime.lowerQuartile, plainTime.upperQuartile] as const,
        stagedQuartiles: [time.lowerQuartile, time.upperQuartile] as const,
        runs: time.times.length,
        cuts,
        msPerCut: overRounds((staged, plain) => (staged - macsFraction * plain) / cuts),
        rowsPerStage,
        load: os.loadavg()[0]!,
      };
    });
  } finally {
    await staged.release();
    await plain.release();
  }
}

/** When nothing leaves early, the answers must be the plain network's; a fast wrong answer is not worth timing. */
async function checkNoExits(staged: StagedClassifier, batch: Batch, logits: Tensor<"float32">): Promise<void> {
  const { predictions, exits } = await staged.classify(batch.x, NOTHING_LEAVES);
  for (let row = 0; row < predictions.length; row++) {
    const scores = logits.data.subarray(row * 10, (row + 1) * 10);
    if (exits[row] !== 2 || predictions[row] !== scores.indexOf(Math.max(...scores))) {
      throw new Error(
        `staged-overhead: without exits, row ${row} of ${predictions.length} differs from the plain network`,
      );
    }
  }
}

async function* only(batch: Batch): AsyncGenerator<Batch> {
  yield batch;
}

function summary(rows: readonly OverheadRow[], { loadAverage, cores }: Environment) {
  const busy = loadAverage[0]! > cores / 2;
  return {
    head: ["backbone", "batch", "scenario", "MACs", "wall clock", "plain ms", "staged ms", "ms a cut", "rounds"],
    rows: rows.map((row) => [
      row.backbone,
      row.batch,
      row.scenario,
      `${row.macsFraction.toFixed(3)} ×`,
      `${row.wallFraction.toFixed(3)} ×`,
      row.plainMs.toFixed(2),
      row.stagedMs.toFixed(2),
      row.msPerCut.toFixed(3),
      row.runs,
    ]),
    notes: [
      "MACs and wall clock are fractions of the plain network's; times are medians of interleaved rounds.",
      ...(busy
        ? [
            `The machine was busy at the start (load ${loadAverage[0]!.toFixed(1)} on ${cores} cores): do not quote these times.`,
          ]
        : []),
    ],
  };
}
