import os from "node:os";
import { type Device, type Generator, type Tensor, tensor } from "@exitkit/core-gpu";
import {
  ALWAYS,
  countExitCosts,
  type ExitModel,
  exitNetwork,
  heads,
  importBackbone,
  openStaged,
  recordExits,
  type StagedClassifier,
  toExitModel,
} from "@exitkit/early-exit";
import type { Batch } from "../../data/batches.ts";
import { argMaxRows } from "../../measuring/answers.ts";
import { quantile, type TimingPlan, timeInterleaved } from "../../measuring/timing.ts";
import type { Backbone } from "../../zoo/backbone.ts";
import { halvingThresholds, type Scenario } from "./scenarios.ts";
import type { OverheadRow } from "./schema.ts";

const CLASSES = 10;

/** No probability exceeds 1. Exits that are switched off (`NEVER`) would not be computed, nor the network in stages. */
const NOTHING_LEAVES = [1, 1];

/** A cheap exit with random weights at both of a backbone's places for them. Good for timing only; the answers mean nothing. */
export function withCheapExits({ model, exits: taps }: Backbone, random: Generator): ExitModel {
  const network = exitNetwork(
    importBackbone(model, { taps }),
    taps.map((tap) => ({ tap, head: heads.linear() })),
  );
  return toExitModel(network, network.init(random));
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
  random: Generator,
  plan: TimingPlan,
): Promise<readonly OverheadRow[]> {
  const exitModel = withCheapExits(backbone, random);
  const costs = await countExitCosts(device, exitModel);
  const size = batch.y.length;
  const { confidences } = await recordExits(device, exitModel, only(batch));
  const thresholds = new Map<Scenario, readonly number[]>([["no exits", NOTHING_LEAVES]]);
  if (size > 1) thresholds.set("half leave at each exit", halvingThresholds(confidences));
  thresholds.set("all leave first", [ALWAYS, 1]);

  const plain = await device.load(backbone.model);
  const staged = await openStaged(device, exitModel);
  try {
    const into = { [backbone.output]: tensor("float32", [size, CLASSES]) };
    const runPlain = () => plain.run({ [backbone.input]: batch.x }, { into });
    await runPlain();
    await checkNoExits(staged, batch, into[backbone.output]!);
    const rows = new Map<Scenario, readonly number[]>();
    const contenders = [...thresholds].map(([name, values]) => ({
      name,
      run: async () => rows.set(name, (await staged.classify(batch.x, values)).rowsPerStage),
    }));
    const times = await timeInterleaved([{ name: "plain", run: runPlain }, ...contenders], plan);
    const plainTime = times.get("plain")!;
    const cuts = exitModel.exits.length - 1;
    return [...thresholds.keys()].map((scenario) => {
      const time = times.get(scenario)!;
      const rowsPerStage = rows.get(scenario)!;
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
  const { predictions, leftAt } = await staged.classify(batch.x, NOTHING_LEAVES);
  const row = argMaxRows(logits.data, CLASSES).findIndex(
    (answer, at) => leftAt[at] !== 2 || predictions[at] !== answer,
  );
  if (row < 0) return;
  throw new Error(`staged-overhead: without exits, row ${row} of ${predictions.length} differs from the plain network`);
}

async function* only(batch: Batch): AsyncGenerator<Batch> {
  yield batch;
}
