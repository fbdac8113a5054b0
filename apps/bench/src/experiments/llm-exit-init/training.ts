import { join } from "node:path";
import { type Device, generator, optimisers } from "@exitkit/core-gpu";
import { trainExits } from "@exitkit/early-exit";
import {
  attachHeads,
  cutWindows,
  heads,
  judgeExits,
  type TokenExit,
  type TokenScore,
  windowDataset,
} from "@exitkit/llm-exit-init";
import type { Context } from "../experiment.ts";
import { bordered, type FirstHeads, tapOf } from "./epoch-zero.ts";
import type { LlmRow, RateRow } from "./schema.ts";
import type { Plan, TrainingPlan } from "./settings.ts";
import type { Subject } from "./subject.ts";

type Setting = TrainingPlan["settings"][number];

/** The paper's shares of the class-aware head. */
const ALPHA = { "not frozen": 0.6, frozen: 0.8 } as const;

/** The heads that are trained: the paper's, and ours beside them. */
function candidates(setting: Setting, first: FirstHeads): readonly heads.TokenHead[] {
  const { random, copy, classAware, calibrated, best } = first;
  const alpha = ALPHA[setting];
  const mixes = [heads.mix(classAware, random, { alpha }), heads.mix(classAware, copy, { alpha })];
  return [random, copy, classAware, ...mixes, ...(setting === "frozen" ? [calibrated] : []), best];
}

/**
 * Trains heads at one exit and judges them after every epoch. Frozen, all are trained side by side in the same passes: no head has a
 * say in another's loss. Not frozen each has the decoder to itself.
 */
export async function trainHeads(
  context: Pick<Context, "run" | "progress">,
  device: Device,
  subject: Subject,
  plan: Plan,
  setting: Setting,
  first: FirstHeads,
  seed: number,
): Promise<readonly LlmRow[]> {
  const all = candidates(setting, first);
  const { epochs, learningRates } = plan.training!;
  const groups = setting === "frozen" ? [all] : all.map((head) => [head]);
  const rows: LlmRow[] = [];
  for (const group of groups) {
    const name = group.length === 1 ? group[0]!.name.replaceAll(/[^\w.]+/g, "-") : "all";
    const key = `${subject.name}-${setting.replace(" ", "-")}-${name}-seed${seed}`;
    const how = { setting, seed, epochs, learningRate: learningRates[setting] };
    rows.push(...(await context.run.step(key, () => trainGroup(context, key, device, subject, plan, how, group))));
  }
  return rows;
}

/** Whether the class-aware head gets worse at first, frozen, by the size of the step and of its logits. */
export async function sweepRates(
  context: Pick<Context, "run" | "progress">,
  device: Device,
  subject: Subject,
  plan: Plan,
  { classAware, calibrated, best }: FirstHeads,
  seed: number,
): Promise<readonly RateRow[]> {
  const rows: RateRow[] = [];
  for (const learningRate of plan.training!.rates) {
    const key = `${subject.name}-rate${learningRate}`;
    const how = { setting: "frozen", seed, epochs: 3, learningRate } as const;
    const group = [classAware, calibrated, best];
    const found = await context.run.step(key, () => trainGroup(context, key, device, subject, plan, how, group));
    rows.push(
      ...found.map(({ model, layer, init, epoch, accuracy, crossEntropy }) => ({
        ...{ model, layer, init, learningRate, epoch, accuracy, crossEntropy },
      })),
    );
  }
  return rows;
}

/** Trains heads alone, side by side, on other text. */
export async function trainAlone(
  context: Pick<Context, "run" | "progress">,
  device: Device,
  subject: Subject,
  plan: Plan,
  group: readonly heads.TokenHead[],
  given: {
    readonly key: string;
    readonly tokens: readonly number[];
    readonly judged: ArrayLike<number>;
    readonly epochs: number;
    readonly seed: number;
  },
): Promise<readonly LlmRow[]> {
  const { length, learningRates } = plan.training!;
  const { key, tokens, judged, epochs, seed } = given;
  const windows = { training: cutWindows(tokens, length + 1), judged: cutWindows(judged, length + 1) };
  const how = { setting: "frozen", seed, epochs, learningRate: learningRates.frozen } as const;
  return trainGroup(context, key, device, { ...subject, ...windows }, plan, how, group);
}

/** How a group of heads is trained. */
interface How {
  readonly setting: Setting;
  readonly seed: number;
  readonly epochs: number;
  readonly learningRate: number;
}

async function trainGroup(
  { run, progress }: Pick<Context, "run" | "progress">,
  key: string,
  device: Device,
  subject: Subject,
  plan: Plan,
  { setting, seed, epochs, learningRate }: How,
  group: readonly heads.TokenHead[],
): Promise<readonly LlmRow[]> {
  const { length, batch: batchSize } = plan.training!;
  const exits: TokenExit[] = group.map((head) => ({ name: head.name, tap: tapOf(plan.layer), head }));
  const { network, params } = attachHeads(subject.decoder, exits, length);
  const judge = (given: typeof params) => judgeExits(device, network, given, subject.judged!, bordered(subject.border));
  const rowsOf = (scores: readonly TokenScore[], epoch: number): readonly LlmRow[] =>
    scores.slice(0, -1).map(({ name, accuracy, crossEntropy, agreement }) => ({
      ...{ model: subject.name, layer: plan.layer, init: name, setting, epoch, seed },
      ...{ accuracy, crossEntropy, agreement, full: scores.at(-1)!.accuracy },
    }));
  const stage = progress.stage(`${setting}: ${group.map(({ name }) => name).join(", ")}`, epochs, "epochs");
  const result = await trainExits(device, network, windowDataset(subject.training!), {
    ...{ params, trains: setting === "frozen" ? ("exits" as const) : ("all" as const), batchSize, epochs },
    generator: generator(seed),
    optimiser: optimisers.adam(),
    learningRate,
    checkpoint: { folder: join(run.path, "checkpoints", key), keep: 1 },
    resume: true,
    evaluate: async ({ readParams }) => {
      const scores = await judge(await readParams());
      return Object.fromEntries(
        scores.flatMap(({ accuracy, crossEntropy, agreement }, j) => [
          [`accuracy.${j}`, accuracy],
          [`crossEntropy.${j}`, crossEntropy],
          [`agreement.${j}`, agreement],
        ]),
      );
    },
    onEpoch: () => stage.advance(1),
  });
  stage.done();
  const after = result.history.map(({ evaluation }) =>
    [...group, { name: "full model" }].map(({ name }, j) => ({
      name,
      accuracy: evaluation[`accuracy.${j}`]!,
      crossEntropy: evaluation[`crossEntropy.${j}`]!,
      agreement: evaluation[`agreement.${j}`]!,
    })),
  );
  return [await judge(params), ...after].flatMap((scores, epoch) => rowsOf(scores, epoch));
}
