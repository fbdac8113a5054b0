import { type Device, layers } from "@exitkit/core-gpu";
import { accumulateDecoder, statisticsBytes, type TokenStatistics } from "@exitkit/llm-exit-init";
import { seedsOf } from "../../measuring/seeds.ts";
import type { Context } from "../experiment.ts";
import * as zero from "./epoch-zero.ts";
import type { AlphaRow, LlmModel, LlmRow, NoiseRow, SpeedRow, Story } from "./schema.ts";
import type { Plan } from "./settings.ts";
import { measureSpeed } from "./speed.ts";
import { colourStory, readStory, type StoryExit } from "./story.ts";
import type { Subject } from "./subject.ts";
import { trainHeads } from "./training.ts";

/** Everything about one model. */
export interface Measured {
  readonly model: LlmModel;
  readonly rows: readonly LlmRow[];
  readonly alphas: readonly AlphaRow[];
  readonly noises: readonly NoiseRow[];
  readonly speeds: readonly SpeedRow[];
  readonly story: Story;
}

/** One pass over the fitted text, then every exit by itself: only its heads are in memory. */
export async function measureModel(context: Context, device: Device, subject: Subject, plan: Plan): Promise<Measured> {
  const { run: folder, progress, seed } = context;
  const { decoder, name } = subject;
  const statisticsAt = keptStatistics(context, device, subject, plan);
  const calibration = await zero.statesOf(device, subject, subject.calibration, plan);
  const test = await zero.statesOf(device, subject, subject.test, plan);
  const story = await readStory(device, subject, plan.layers);
  const rows: LlmRow[] = [];
  const alphas: AlphaRow[] = [];
  const noises: NoiseRow[] = [];
  const exits: StoryExit[] = [];
  let crossEntropy = Number.NaN;
  let unseen = 0;
  let chosen: zero.FirstHeads | null = null;
  const stage = progress.stage(`${name}: heads`, plan.layers.length, "exits");
  for (const layer of plan.layers) {
    const { raw, normed } = await statisticsAt(layer);
    unseen = raw.counts.reduce((found, count) => found + (count === 0 ? 1 : 0), 0);
    const own = layer === plan.layer;
    const first = () =>
      zero.firstHeads(device, subject, raw, normed, zero.at(calibration, layer), zero.randomOf(seed, layer));
    const trained = own && plan.training !== null;
    if (trained) chosen = await first();
    const judged = await folder.step(`${name}-block${layer}`, async () => {
      const heads = chosen !== null && own ? chosen : await first();
      return {
        ...(await zero.judgeFirst(device, subject, layer, heads, test)),
        noises: await zero.sweepNoise(device, subject, plan, layer, raw, test),
        alphas: own ? await zero.sweepAlpha(device, subject, plan, heads, test) : [],
        answers: await story.answersAt(layer, heads.best),
      };
    });
    rows.push(...judged.rows);
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
  const full = { name: "full model", answers: await story.answers() };
  return { model, rows, alphas, noises, speeds, story: colourStory(subject, [...exits, full]) };
}

/** Statistics of an exit, raw and normed: all are of one pass, and each is a file of its own. */
function keptStatistics(context: Context, device: Device, subject: Subject, plan: Plan) {
  const { run: folder, progress } = context;
  const { name } = subject;
  let all: Promise<readonly TokenStatistics[]> | null = null;
  const pass = async () => {
    const stage = progress.stage(`${name}: statistics`, subject.fit.tokens.length / plan.window, "windows");
    let done = 0;
    const found = await accumulateDecoder(device, subject.decoder, subject.fit, {
      exits: plan.layers.flatMap((layer) => [
        { tap: zero.tapOf(layer) },
        { tap: zero.tapOf(layer), norm: "final" as const },
      ]),
      ...zero.bordered(subject.border),
      onProgress: (windows) => {
        stage.advance(windows - done);
        done = windows;
      },
    });
    stage.done();
    return found;
  };
  const kept = plan.layers.map((layer, at) => {
    const step = (part: string, index: number) =>
      folder.step(`${name}-statistics-block${layer}-${part}`, async () => {
        all ??= pass();
        return (await all)[index]!;
      });
    return { layer, read: async () => ({ raw: await step("raw", 2 * at), normed: await step("normed", 2 * at + 1) }) };
  });
  return (layer: number) => kept.find((one) => one.layer === layer)!.read();
}
