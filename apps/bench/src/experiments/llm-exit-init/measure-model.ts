import { type Device, layers } from "@exitkit/core-gpu";
import {
  type AccumulateDecoderOptions,
  accumulateDecoder,
  hiddenUnits,
  statisticsBytes,
  type TokenStatistics,
} from "@exitkit/llm-exit-init";
import { seedsOf } from "../../measuring/seeds.ts";
import type { Context } from "../experiment.ts";
import * as zero from "./epoch-zero.ts";
import type { AlphaRow, LlmModel, LlmRow, NoiseRow, RateRow, ShiftRow, SpeedRow, Story } from "./schema.ts";
import type { Plan } from "./settings.ts";
import { measureShift } from "./shift.ts";
import { measureSpeed } from "./speed.ts";
import { colourStory, readStory, type StoryExit } from "./story.ts";
import type { Subject } from "./subject.ts";
import { sweepRates, trainHeads } from "./training.ts";

/** Everything about one model. */
export interface Measured {
  readonly model: LlmModel;
  readonly rows: readonly LlmRow[];
  readonly alphas: readonly AlphaRow[];
  readonly noises: readonly NoiseRow[];
  readonly rates: readonly RateRow[];
  readonly shifts: readonly ShiftRow[];
  readonly speeds: readonly SpeedRow[];
  readonly story: Story;
}

/** One pass over the fitted text, then every exit by itself: only its heads are in memory. */
export async function measureModel(context: Context, device: Device, subject: Subject, plan: Plan): Promise<Measured> {
  const { run: folder, progress, seed } = context;
  const { decoder, name } = subject;
  const statisticsAt = keptStatistics(context, device, subject, plan);
  const hiddenAt = hiddenStatistics(context, device, subject, plan);
  // What a run that goes on has already is not computed again.
  const calibration = once(() => zero.statesOf(device, subject, subject.calibration, plan));
  const test = once(() => zero.statesOf(device, subject, subject.test, plan));
  const story = once(() => readStory(device, subject, plan.layers));
  const rows: LlmRow[] = [];
  const alphas: AlphaRow[] = [];
  const noises: NoiseRow[] = [];
  const exits: StoryExit[] = [];
  let crossEntropy = Number.NaN;
  let unseen = 0;
  let chosen: zero.FirstHeads | null = null;
  let general: Awaited<ReturnType<typeof statisticsAt>> | null = null;
  const stage = progress.stage(`${name}: heads`, plan.layers.length, "exits");
  for (const layer of plan.layers) {
    const { raw, normed } = await statisticsAt(layer);
    unseen = raw.counts.reduce((found, count) => found + (count === 0 ? 1 : 0), 0);
    const own = layer === plan.layer;
    const first = async () =>
      zero.firstHeads(device, subject, raw, normed, zero.at(await calibration(), layer), zero.randomOf(seed, layer));
    const trained = own && plan.training !== null;
    if (trained) {
      chosen = await first();
      general = { raw, normed };
    }
    const judged = await folder.step(`${name}-block${layer}`, async () => {
      const heads = chosen !== null && own ? chosen : await first();
      return {
        ...(await zero.judgeFirst(device, subject, layer, heads, await test())),
        noises: await zero.sweepNoise(device, subject, plan, layer, raw, await test()),
        alphas: own ? await zero.sweepAlpha(device, subject, plan, heads, await test()) : [],
        answers: await (await story()).answersAt(layer, heads.best),
      };
    });
    rows.push(...judged.rows);
    if (plan.hidden !== null) {
      const wide = async () =>
        zero.judgeHidden(device, subject, layer, await hiddenAt(layer), await calibration(), await test());
      rows.push(...(await folder.step(`${name}-block${layer}-hidden`, wide)));
    }
    alphas.push(...judged.alphas);
    noises.push(...judged.noises);
    crossEntropy = judged.crossEntropy;
    exits.push({ name: zero.tapOf(layer), answers: judged.answers });
    for (const row of judged.rows) await folder.metric({ ...row });
    stage.advance(1);
  }
  stage.done();
  for (const setting of plan.training?.settings ?? []) {
    for (const one of seedsOf(context, plan.training!.seeds[setting])) {
      rows.push(...(await trainHeads(context, device, subject, plan, setting, chosen!, one)));
    }
  }
  const rates = chosen === null ? [] : await sweepRates(context, device, subject, plan, chosen, seed);
  const shifts =
    chosen === null || general === null
      ? []
      : await measureShift(context, device, subject, plan, chosen, general, seed);
  const timing = { budget: context.preset === "quick" ? 3000 : 30_000, leastRounds: 3, mostRounds: 31 };
  const speeds = await folder.step(`${name}-speed`, () => measureSpeed(device, subject, plan, timing));
  const { config } = decoder;
  const model: LlmModel = {
    ...{ name, text: subject.text, crossEntropy, unseen, accuracy: rows[0]!.full },
    ...{ layers: config.layers, width: config.width, vocabulary: config.vocabulary },
    parameters: layers.countParameters(decoder.params),
    fit: subject.fit.tokens.length,
    calibration: subject.calibration.tokens.length,
    test: subject.test.tokens.length,
    training: subject.training?.tokens.length ?? 0,
    statisticsBytes: statisticsBytes(config.vocabulary, config.width),
  };
  const answers = await folder.step(`${name}-answers`, async () => (await story()).answers());
  const full = { name: "full model", answers };
  return { model, rows, alphas, noises, rates, shifts, speeds, story: colourStory(subject, [...exits, full]) };
}

/** The same promise for all who ask. */
function once<Found>(find: () => Promise<Found>): () => Promise<Found> {
  let found: Promise<Found> | null = null;
  return () => {
    found ??= find();
    return found;
  };
}

/** Statistics of an exit, raw and normed: all are of one pass, and each is a file of its own. */
function keptStatistics(context: Context, device: Device, subject: Subject, plan: Plan) {
  const { run: folder } = context;
  const { name } = subject;
  let all: Promise<readonly TokenStatistics[]> | null = null;
  const exits = plan.layers.flatMap((layer) => [
    { tap: zero.tapOf(layer) },
    { tap: zero.tapOf(layer), norm: "final" as const },
  ]);
  const kept = plan.layers.map((layer, at) => {
    const step = (part: string, index: number) =>
      folder.step(`${name}-statistics-block${layer}-${part}`, async () => {
        all ??= passOver(context, device, subject, plan, "statistics", exits);
        return (await all)[index]!;
      });
    return { layer, read: async () => ({ raw: await step("raw", 2 * at), normed: await step("normed", 2 * at + 1) }) };
  });
  return (layer: number) => kept.find((one) => one.layer === layer)!.read();
}

/** Statistics with hidden units, of all exits in one pass when the first is asked for; too large to be kept. */
function hiddenStatistics(context: Context, device: Device, subject: Subject, plan: Plan) {
  let all: Promise<readonly TokenStatistics[]> | null = null;
  return async (layer: number): Promise<TokenStatistics> => {
    const { width: features } = subject.decoder.config;
    const exits = plan.layers.map((at) => ({
      ...{ tap: zero.tapOf(at), norm: "final" as const },
      hidden: hiddenUnits(zero.randomOf(context.seed, at), { features, units: plan.hidden! }),
    }));
    all ??= passOver(context, device, subject, plan, "statistics with hidden units", exits);
    return (await all)[plan.layers.indexOf(layer)]!;
  };
}

async function passOver(
  { progress }: Context,
  device: Device,
  { name, decoder, fit, border }: Subject,
  plan: Plan,
  what: string,
  exits: AccumulateDecoderOptions["exits"],
): Promise<readonly TokenStatistics[]> {
  const stage = progress.stage(`${name}: ${what}`, fit.tokens.length / plan.window, "windows");
  let done = 0;
  const onProgress = (windows: number) => {
    stage.advance(windows - done);
    done = windows;
  };
  const found = await accumulateDecoder(device, decoder, fit, { exits, ...zero.bordered(border), onProgress });
  stage.done();
  return found;
}
