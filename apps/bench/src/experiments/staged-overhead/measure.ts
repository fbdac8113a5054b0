import os from "node:os";
import { type Device, type Generator, type Tensor, tensor } from "@exitkit/core-gpu";
import { ALWAYS, openStaged, recordExits, type StagedClassifier } from "@exitkit/early-exit";
import type { Batch } from "../../data/batches.ts";
import { quantile, type TimingPlan, timeInterleaved } from "../../measuring/timing.ts";
import type { Backbone } from "../../zoo/backbone.ts";
import { costsOf, withCheapExits } from "./heads.ts";
import { halvingThresholds, type Scenario } from "./scenarios.ts";
import type { OverheadRow } from "./schema.ts";

/** No probability exceeds 1. Exits that are switched off (`NEVER`) would not be computed, nor the network in stages. */
const NOTHING_LEAVES = [1, 1];

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
  const { predictions, leftAt } = await staged.classify(batch.x, NOTHING_LEAVES);
  for (let row = 0; row < predictions.length; row++) {
    const scores = logits.data.subarray(row * 10, (row + 1) * 10);
    if (leftAt[row] !== 2 || predictions[row] !== scores.indexOf(Math.max(...scores))) {
      throw new Error(
        `staged-overhead: without exits, row ${row} of ${predictions.length} differs from the plain network`,
      );
    }
  }
}

async function* only(batch: Batch): AsyncGenerator<Batch> {
  yield batch;
}
